"""The PyTorch and PEFT side of the comparisons. Everything goes in and out by files.

peft_side.py weights MODEL OUT.json                        sha256 of every weight as float32
peft_side.py train   MODEL ADAPTER BATCHES.json OUT_DIR    trains the adapter; OUT_DIR/steps.json and OUT_DIR/adapter
peft_side.py logits  MODEL ADAPTER PROMPTS.json OUT.f32    logits at every position of every prompt, one after the other
peft_side.py score   MODEL ADAPTER ROWS.json OUT.json      label loss of every row; ADAPTER "-" is the base model
"""

import hashlib
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

SCORE_BATCH = 8


def read(path):
    with open(path) as file:
        return json.load(file)


def write(path, value):
    with open(path, "w") as file:
        json.dump(value, file)


def load(model, adapter="-", is_trainable=False):
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter == "-":
        return base.eval()
    return PeftModel.from_pretrained(base, adapter, is_trainable=is_trainable)


def rectangle(rows):
    """Rows {ids, labels} (labels: 1 where the token counts) padded on the right: ids, attention mask, labels (-100: none)."""
    length = max(len(row["ids"]) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), -100, dtype=torch.long)
    for i, row in enumerate(rows):
        n = len(row["ids"])
        ids[i, :n] = torch.tensor(row["ids"])
        mask[i, :n] = 1
        counts = torch.tensor(row["labels"], dtype=torch.bool)
        labels[i, :n][counts] = ids[i, :n][counts]
    return ids, mask, labels


def weights(model, out):
    tensors = load(model).state_dict()
    write(out, {name: sha256(tensor) for name, tensor in tensors.items()})


def sha256(tensor):
    assert tensor.dtype == torch.float32
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def train(model, adapter, batches, out):
    plan = read(batches)
    peft = load(model, adapter, is_trainable=True).train()
    trainable = [p for p in peft.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=plan["learningRate"], betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    schedule = get_linear_schedule_with_warmup(optimizer, plan["warmupSteps"], len(plan["batches"]))
    steps = []
    for rows in plan["batches"]:
        ids, mask, labels = rectangle(rows)
        loss = peft(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable, plan["clipNorm"])
        steps.append({"loss": loss.item(), "gradNorm": norm.item(), "learningRate": schedule.get_last_lr()[0]})
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        print(f"step {len(steps)}: loss {steps[-1]['loss']:.5f}", file=sys.stderr)
    write(os.path.join(out, "steps.json"), {"trainable": sum(p.numel() for p in trainable), "steps": steps})
    peft.save_pretrained(os.path.join(out, "adapter"))


@torch.no_grad()
def logits(model, adapter, prompts, out):
    peft = load(model, adapter).eval()
    with open(out, "wb") as file:
        for ids in read(prompts):
            values = peft(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
            file.write(values.to(torch.float32).contiguous().numpy().tobytes())


@torch.no_grad()
def score(model, adapter, rows, out):
    peft = load(model, adapter).eval()
    data = read(rows)
    scores = []
    for start in range(0, len(data), SCORE_BATCH):
        ids, mask, labels = rectangle(data[start : start + SCORE_BATCH])
        values = peft(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        targets = labels[:, 1:]
        counted = targets != -100
        # PyTorch's sum over the vocabulary loses 1e-4 of a loss where the classes are not the last dimension.
        losses = torch.nn.functional.cross_entropy(values[counted], targets[counted], reduction="none").double()
        sums = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, counted.nonzero()[:, 0], losses)
        scores += [{"loss": a, "labels": b} for a, b in zip(sums.tolist(), counted.sum(1).tolist())]
    write(out, scores)


COMMANDS = {"weights": weights, "train": train, "logits": logits, "score": score}

if __name__ == "__main__":
    torch.manual_seed(0)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
