"""Peak memory of `slimbert prepare` on a corpus that doubles again and again: it must not grow with the text.

    SLIMBERT_DATA=DIR python benchmarks/prepare_memory.py [--articles 1500] [--doublings 3] [--name prepare_memory]

Articles of wiki_en in row groups of 1,000 (a reader holds one of them), a WordPiece of 8,192, one worker, each size in a
process of its own; the peak is that of the process and the largest of its children. Figures are in MB of resident
memory, which counts pages of mapped files too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from records import done, keep

from slimbert.data.readers import documents
from slimbert.data.tokenizer import TextTokenizer

CHILD = """
import json, resource, sys
from slimbert.data.prepare import prepare
report = prepare([sys.argv[1]], sys.argv[2], seq_len=128, out=sys.argv[3], workers=1)
peak = {who: resource.getrusage(getattr(resource, f"RUSAGE_{who}")).ru_maxrss // 1024 for who in ("SELF", "CHILDREN")}
print(json.dumps({"documents": report.documents, "tokens": report.tokens, **peak}))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--articles", type=int, default=1500)
    options.add_argument("--doublings", type=int, default=3)
    options.add_argument("--name", default="prepare_memory")
    chosen = options.parse_args()
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
            words = [sys.executable, "-c", CHILD, str(text), str(work / "tok"), str(work / f"data{size}")]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            keep(chosen.name, str(size), json.loads(said.strip().splitlines()[-1]))
            print(size, done(chosen.name, str(size)), flush=True)


if __name__ == "__main__":
    main()
