"""The PEFT side of peft.mjs. Everything goes in and out by files.

peft_side.py write PLAN.json    makes the adapter of every case, all its trained values moved from their start, saves it to
                                CASE.folder, and writes the logits with it to CASE.logits
peft_side.py read PLAN.json     loads the adapter in every CASE.folder, and writes the logits with it to CASE.logits
A case that fails has its error in CASE.logits + ".error" instead.
"""

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import torch
import transformers

CONFIGS = {"LORA": peft.LoraConfig, "IA3": peft.IA3Config, "PREFIX_TUNING": peft.PrefixTuningConfig,
           "PROMPT_TUNING": peft.PromptTuningConfig, "VERA": peft.VeraConfig, "ADALORA": peft.AdaLoraConfig}


def base_of(case):
    return transformers.AutoModelForCausalLM.from_pretrained(
        case["model"], dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def write_logits(case, model, ids):
    # Prompt and prefix tuning put their tokens in front; PEFT returns the logits of prompt tokens too.
    logits = model(input_ids=torch.tensor([ids])).logits[0, -len(ids):]
    Path(case["logits"]).write_bytes(logits.float().contiguous().numpy().tobytes())


def trained(model):
    return [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def move(model, peft_type):
    """Every trained value away from its start."""
    for name, p in trained(model):
        if peft_type in ("PREFIX_TUNING", "PROMPT_TUNING"):
            p.data = 0.5 * torch.randn(p.shape)
        else:
            p.data += torch.randn(p.shape) * max(0.1, 0.3 * p.data.std().item() if p.numel() > 1 else 0)


def allocate(model, config):
    """AdaLoRA's rank allocator, as a training loop calls it after each update: afterwards triplets are missing."""
    for step in range(1, config.total_step + 1):
        for _, p in trained(model):
            p.grad = 0.1 * torch.randn(p.shape)
            p.data -= 0.2 * p.grad
        model.base_model.update_and_allocate(step)


def write(case, ids):
    torch.manual_seed(1)
    config = CONFIGS[case["peftType"]](task_type="CAUSAL_LM", **case["config"])
    model = peft.get_peft_model(base_of(case), config).eval()
    folder, residual = Path(case["folder"]), case.get("residual")
    first = folder / "first"
    if residual:
        config.init_lora_weights = True  # what is saved first is plain factors
        model.save_pretrained(first)
        config.init_lora_weights = residual
    move(model, case["peftType"])
    if case["peftType"] == "ADALORA":
        allocate(model, config)
    write_logits(case, model, ids)
    model.save_pretrained(folder, **({"path_initial_model_for_weight_conversion": str(first)} if residual else {}))
    shutil.rmtree(first, ignore_errors=True)


def read(case, ids):
    write_logits(case, peft.PeftModel.from_pretrained(base_of(case), case["folder"]).eval(), ids)


def main(command, plan_path):
    plan = json.loads(Path(plan_path).read_text())
    for case in plan["cases"]:
        print(f"PEFT, {command}: {case['name']}", file=sys.stderr)
        try:
            {"write": write, "read": read}[command](case, plan["ids"])
        except Exception as error:  # the table says which case failed, and how
            Path(f"{case['logits']}.error").write_text(f"{type(error).__name__}: {str(error)[:500]}")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    main(*sys.argv[1:])
