"""Chat templates that public packages ship, and what transformers makes of conversations under each.

usage: python templates_side.py PACKAGES CONVERSATIONS.json OUT.json
PACKAGES holds what `pip download` and `npm pack` brought (wheels, sdists, tarballs).
"""
import ast
import datetime
import json
import pathlib
import sys
import tarfile
import zipfile

from transformers import __version__
from transformers.utils.chat_template_utils import _compile_jinja_template, _normalize_chat_messages, render_jinja_template


def members(path):
    """(name, bytes) of the files of an archive that may hold templates."""
    wanted = lambda name: name.endswith((".jinja", "tokenizer_config.json", "chat_templates.py", "chat_template.json"))
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if wanted(name):
                    yield name, archive.read(name)
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and wanted(member.name):
                    yield member.name, archive.extractfile(member).read()


def strings(source):
    """Texts of a Python file that are templates."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "messages" in node.value and "{%" in node.value and "content" in node.value:
                yield f"line {node.lineno}", node.value


def templates(path):
    for name, content in members(path):
        text = content.decode("utf-8", "replace")
        if name.endswith(".jinja"):
            yield name, text
        elif name.endswith(".py"):
            yield from ((f"{name} {place}", found) for place, found in strings(text))
        else:
            found = json.loads(text).get("chat_template")
            for entry in found if isinstance(found, list) else [{"name": "", "template": found}]:
                if entry["template"]:
                    yield f"{name} {entry['name']}".strip(), entry["template"]


def render(source, conversation):
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    variables = {**tokens, "documents": None, "tools": conversation.get("tools"), **conversation.get("extra", {})}
    try:
        texts, _ = render_jinja_template(
            [_normalize_chat_messages(conversation["messages"])], chat_template=source,
            add_generation_prompt=conversation.get("addGenerationPrompt", False),
            **variables,
        )
        return {"text": texts[0]}
    except Exception as error:  # whatever a template does wrong is its refusal
        return {"error": f"{type(error).__name__}: {error}"}


def main(packages, conversations, out):
    cases = json.loads(pathlib.Path(conversations).read_text())
    found, seen = [], set()
    for path in sorted(pathlib.Path(packages).iterdir()):
        if path.suffix not in (".whl", ".zip", ".gz", ".tgz"):
            continue
        for name, source in templates(path):
            if source in seen:
                continue
            seen.add(source)
            try:
                _compile_jinja_template(source)
                results = [render(source, case) for case in cases]
            except Exception as error:
                results = [{"error": f"{type(error).__name__}: {error}"}] * len(cases)
            found.append({"package": path.name, "name": name, "source": source, "results": results})
    content = {"transformers": __version__, "day": datetime.date.today().isoformat(), "templates": found}
    pathlib.Path(out).write_text(json.dumps(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
