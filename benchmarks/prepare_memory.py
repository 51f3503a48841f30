"""Peak memory of `slimbert prepare` on a corpus that doubles again and again: it must not grow with the text.

    SLIMBERT_DATA=DIR python benchmarks/prepare_memory.py [--articles 1500] [--doublings 3] [--name prepare_memory]

Articles of wiki_en in row groups of 1,000 (a reader holds one of them), a WordPiece of 8,192, one worker, each size in
a process of its own; the peaks are that of the process and that of its worker. Figures are in MB (2^20 bytes) of
resident memory, which counts pages of mapped files too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from records import done, keep

from slimbert.data.readers import documents
from slimbert.data.tokenizer import TextTokenizer

# a worker is asked just before it is ended; the process imports nothing but what `prepare` needs
CHILD = """
import json, sys
from slimbert.data.parts import Worker
from slimbert.data.prepare import prepare
sys.path.append(sys.argv[4])
from resident import peak_mb

peaks, close = [], Worker.close

def asked(worker):
    peaks.append(peak_mb(worker.process.pid))
    close(worker)

Worker.close = asked
made = prepare([sys.argv[1]], sys.argv[2], seq_len=128, out=sys.argv[3], workers=1)
found = {"process_mb": round(peak_mb()), "worker_mb": round(max(peaks, default=0))}
print(json.dumps({"documents": made.documents, "tokens": made.tokens, **found}))
"""


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--articles", type=int, default=1500)
    options.add_argument("--doublings", type=int, default=3)
    options.add_argument("--name", default="prepare_memory")
    chosen = options.parse_args(argv)
    table = pq.read_table(Path(os.environ["SLIMBERT_DATA"]) / "wiki_en" / "train.parquet", columns=["text"])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for size in (chosen.articles << times for times in range(chosen.doublings + 1)):
            if done(chosen.name, str(size)) is not None:
                continue
            text = work / f"{size}.parquet"
            pq.write_table(table.slice(0, size), text, row_group_size=1000)
            if not (work / "tok").exists():
                TextTokenizer.train(documents([text]), vocab_size=8192).save(work / "tok")
            keep(chosen.name, str(size), measured(text, work / "tok", work / f"data{size}"))
            print(size, done(chosen.name, str(size)), flush=True)


def measured(text: Path, tokenizer: Path, out: Path) -> dict[str, Any]:
    """Documents and tokens of a `prepare` in a process of its own, its peak in MB and its worker's (0: the text is so
    short that it needs none)."""
    words = [sys.executable, "-c", CHILD, str(text), str(tokenizer), str(out), str(Path(__file__).parent)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
