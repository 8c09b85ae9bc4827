"""Writes a GGUF model as a Hugging Face folder in float32: from_gguf.py MODEL.gguf FOLDER"""

import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

path, out = sys.argv[1:]
source = {"pretrained_model_name_or_path": os.path.dirname(os.path.abspath(path)), "gguf_file": os.path.basename(path)}
tokenizer = AutoTokenizer.from_pretrained(**source)
model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
# The weights are plain now; what is left of the quantization would be saved into config.json and refused on loading.
model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
tokenizer.save_pretrained(out)
