"""Fine-tune an encoder on a file of labelled texts, and ask it.

python examples/finetune_own_file.py ENCODER reviews.csv runs/reviews
"""

import sys

import slimbert


def main(encoder: str, data: str, out: str) -> None:
    result = slimbert.finetune(encoder, data, out=out)
    score = result.test or result.validation
    print(f"accuracy {score['accuracy']:.3f} ({score['accuracy_low']:.3f} to {score['accuracy_high']:.3f})")
    for name, other in result.baselines.items():
        print(f"{name}: {other['accuracy']:.3f}")
    for answer in slimbert.load(out).predict(["I would buy it again.", "It broke on the second day."]):
        print(answer.label, f"{answer.score:.2f}", answer.text)


if __name__ == "__main__":
    main(*sys.argv[1:4])
