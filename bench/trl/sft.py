"""TRL's SFTTrainer with PEFT on the CPU, as a user would run it: LoRA of rank 8 on q and v, batch 8, learning rate
1e-3 linear with 10 warm-up steps, loss on completions.

Test losses are what `Trainer.evaluate` gives: the mean over batches of each batch's mean."""

import argparse
import json
import os
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

PROMPT, COMPLETION = "prompt", "command"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("train", help="JSON lines")
    parser.add_argument("test", help="JSON lines")
    parser.add_argument("--work", required=True, help="folder for what the trainer writes")
    parser.add_argument("--result", help="JSON file: steps, seconds, losses, memory")
    parser.add_argument("--adapter", help="folder for the trained adapter")
    parser.add_argument("--rows", help="JSON file: ids and labels of the test rows and the training rows; nothing is trained")
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--in-order", action="store_true", help="training rows as they lie in the file")
    parser.add_argument("--no-evaluation", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--encoded", action="store_true", help="rows are {input_ids, completion_mask}, not text")
    parser.add_argument("--start", help="adapter to start from")
    return parser.parse_args()


def conversations(path):
    with open(path) as file:
        rows = [json.loads(line) for line in file]
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row[PROMPT]}],
                "completion": [{"role": "assistant", "content": row[COMPLETION]}],
            }
            for row in rows
        ]
    )


def rows_of(path, encoded):
    if not encoded:
        return conversations(path)
    with open(path) as file:
        return Dataset.from_list([json.loads(line) for line in file])


def process_age():
    """Seconds since this process was started."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        return float(uptime.read().split()[0]) - started


class Clock(TrainerCallback):
    """Seconds of each step, from its first forward to the end of its update, and of the process before the first."""

    def __init__(self):
        self.seconds = []
        self.first_step = None

    def on_step_begin(self, *args, **kwargs):
        if self.first_step is None and os.path.exists("/proc/self/stat"):
            self.first_step = process_age()
        self.started = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.seconds.append(time.perf_counter() - self.started)


def create_trainer(options, clock):
    config = SFTConfig(
        output_dir=options.work,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=8,
        num_train_epochs=1,
        max_steps=options.max_steps,
        learning_rate=1e-3,
        lr_scheduler_type="linear",
        warmup_steps=10,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        max_length=512,
        eos_token="<|im_end|>",
        dataloader_pin_memory=False,
        train_sampling_strategy="sequential" if options.in_order else "random",
        seed=options.seed,
        completion_only_loss=True if options.encoded else None,
    )
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return SFTTrainer(
        model=PeftModel.from_pretrained(model, options.start, is_trainable=True) if options.start else model,
        args=config,
        train_dataset=rows_of(options.train, options.encoded),
        eval_dataset=rows_of(options.test, options.encoded),
        processing_class=AutoTokenizer.from_pretrained(options.model),
        peft_config=None if options.start else lora,
        callbacks=[clock],
    )


def row_of(example):
    labels = example["labels"] if "labels" in example else None
    counts = [int(x != -100) for x in labels] if labels is not None else list(example["completion_mask"])
    return {"ids": list(example["input_ids"]), "labels": counts}


def write(path, value):
    with open(path, "w") as file:
        json.dump(value, file)


def main():
    options = arguments()
    torch.manual_seed(options.seed)
    clock = Clock()
    trainer = create_trainer(options, clock)
    if options.rows:
        splits = {"train": trainer.train_dataset, "test": trainer.eval_dataset}
        write(options.rows, {name: [row_of(example) for example in data] for name, data in splits.items()})
        return
    evaluate = (lambda: None) if options.no_evaluation else (lambda: trainer.evaluate()["eval_loss"])
    before = evaluate()
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    after = evaluate()
    if options.adapter:
        trainer.model.save_pretrained(options.adapter)
    result = {
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "stepSeconds": clock.seconds,
        "trainSeconds": seconds,
        "firstStepSeconds": clock.first_step,
        "threads": torch.get_num_threads(),
        "lossBefore": before,
        "lossAfter": after,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if options.result:
        write(options.result, result)


main()
