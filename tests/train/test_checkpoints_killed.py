"""A real child is killed at random moments of a tight loop of saves; a whole checkpoint is found each time."""

import os
import subprocess
import sys
from pathlib import Path

KILLED = """
import os, random, signal, sys, time, torch
from pathlib import Path
from slimbert.train import checkpoints

torch.set_num_threads(1)
folder, chance = Path(sys.argv[1]), random.Random(0)
big = torch.arange(50_000.0)
for kill in range(25):
    last = checkpoints.newest(folder)
    child = os.fork()
    if child == 0:
        step = last.step if last else 0
        while True:
            step += 1
            state = {"step": step, "pad": "x" * 1000}
            checkpoints.save(folder, step, tensors={"x": big + step}, state=state, best=step % 3 == 0)
            if step % 4 == 0:
                checkpoints.save(folder, step, tensors={"x": big + step}, state=state)
    while checkpoints.newest(folder) is None:
        time.sleep(0.001)
    time.sleep(chance.random() * 0.04)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = checkpoints.newest(folder)
    assert found is not None and found.skipped == (), found
    assert found.state["step"] == found.step and torch.equal(found.tensors["x"], big + found.step)
    assert last is None or found.step >= last.step
    print(found.step, sorted(p.name for p in folder.iterdir() if p.name.startswith(".")), flush=True)
"""


def test_sigkill_at_any_moment_leaves_a_whole_checkpoint_and_nothing_that_looks_broken(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "checkpoints")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 25
    assert any(".writing" in line for line in lines), f"no kill hit a save: {lines}"
