"""PyTorch and PEFT on dense batches: every token is computed and predicts the next. No padding, no trainer.

dense.py MODEL ADAPTER BATCHES.json RESULT.json [--compile]     BATCHES: [step][row][tokens + 1]
"""

import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

LEARNING_RATE, WARMUP_STEPS, CLIP_NORM = 1e-3, 10, 1.0


def main(model, adapter, batches, result, *flags):
    with open(batches) as file:
        steps = [torch.tensor(batch) for batch in json.load(file)]
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, adapter, is_trainable=True).train()
    trainable = [p for p in peft.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP_STEPS, len(steps))

    def loss_of(ids):
        logits = peft(input_ids=ids[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    compute = torch.compile(loss_of) if "--compile" in flags else loss_of
    seconds, losses = [], []
    for ids in steps:
        started = time.perf_counter()
        loss = compute(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open(result, "w") as file:
        measured = {"losses": losses, "stepSeconds": seconds, "peakRssBytes": peak, "threads": torch.get_num_threads()}
        json.dump(measured, file)


torch.manual_seed(0)
main(*sys.argv[1:])
