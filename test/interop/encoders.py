"""What lowrank trained, in transformers and PEFT: labels and logits of texts, by `lowrank classify`, by the base with the
adapter in PEFT, and by the merged folder in transformers.

    python test/interop/encoders.py BASE ADAPTER MERGED      (needs torch, transformers, peft; after npm run build)

BASE is a Hugging Face folder of a bert or roberta, with or without a head; ADAPTER the adapter folder of a run on it; MERGED
where `lowrank merge` wrote both. Prints the largest differences of probabilities, and fails beyond 1e-5.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import transformers
from peft import PeftModel

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["the film was a great pleasure", "a dull and lifeless story, badly told", "Naïve café?", "10,000.5% of it", "x"]


def ours(*model):
    command = ["node", str(ROOT / "dist/cli/main.js"), "classify", "--json", "--offline", *model, *TEXTS]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def theirs(model, tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", split_special_tokens=True)
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    return logits if logits.shape[1] == 1 else logits.softmax(-1)


def worst(answers, scores):
    return max(abs(value - float(scores[i, j])) for i, a in enumerate(answers) for j, value in enumerate(a["scores"].values()))


def main(base, adapter, merged):
    labels = json.loads((Path(adapter) / "labels.json").read_text())["labels"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(merged)
    auto = transformers.AutoModelForSequenceClassification
    names = dict(num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)})
    answers = ours("--model", base, "--adapter", adapter)
    with_peft = PeftModel.from_pretrained(auto.from_pretrained(base, **names, ignore_mismatched_sizes=True), adapter)
    plain = auto.from_pretrained(merged)
    assert list(plain.config.id2label.values()) == labels, plain.config.id2label
    rows = {
        "PEFT, base and adapter": worst(answers, theirs(with_peft, tokenizer)),
        "transformers, merged": worst(answers, theirs(plain, tokenizer)),
        "lowrank, merged": worst(ours("--model", merged), theirs(plain, tokenizer)),
    }
    for name, difference in rows.items():
        print(f"{name:24} {difference:.1e}")
    if max(rows.values()) > 1e-5:
        sys.exit("the differences are more than rounding")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    main(*sys.argv[1:])
