"""Encrypts as SOPS does: python3 make.py > made.json. Needs pyrage and cryptography."""
import base64, hashlib, json, os, re, sys
import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OWN, OTHER = re.findall("age1[a-z0-9]+", open("keys.txt").read())
WHEN = "2026-11-20T10:00:00Z"

class Comment(str): pass

def text_of(v):
    if isinstance(v, bool): return "True" if v else "False"
    if isinstance(v, float):
        t = format(v, "f").rstrip("0").rstrip(".")
        return t if float(t) == v else repr(v)
    return str(v)

def kind_of(v):
    if isinstance(v, Comment): return "comment"
    if isinstance(v, bool): return "bool"
    if isinstance(v, int): return "int"
    if isinstance(v, float): return "float"
    return "str"

def enc(key, v, aad):
    plain = text_of(v).encode()
    if not plain: return ""
    iv = os.urandom(32)
    out = AESGCM(key).encrypt(iv, plain, aad.encode())
    b = lambda x: base64.b64encode(x).decode()
    return f"ENC[AES256_GCM,data:{b(out[:-16])},iv:{b(iv)},tag:{b(out[-16:])},type:{kind_of(v)}]"

def walk(key, v, path, rule, only, mac):
    if v is None: return None
    if isinstance(v, dict):
        return {k if not isinstance(k, Comment) else Comment(enc(key, k, ":".join(path) + ":") if rule(path) else k):
                (None if isinstance(k, Comment) else walk(key, x, path + [k], rule, only, mac)) for k, x in v.items()}
    if isinstance(v, list): return [walk(key, x, path, rule, only, mac) for x in v]
    if rule(path) or not only: mac.update(text_of(v).encode())
    return enc(key, v, ":".join(path) + ":") if rule(path) else v

def yaml(v, depth=0):
    pad = "    " * depth
    out = ""
    for k, x in v.items():
        if isinstance(k, Comment): out += f"{pad}#{k}\n"; continue
        name = k if re.fullmatch(r"[\w./-]+", k) else json.dumps(k, ensure_ascii=False)
        if isinstance(x, dict) and x: out += f"{pad}{name}:\n{yaml(x, depth + 1)}"
        elif isinstance(x, str) and x.endswith("\n") and x.strip():
            out += f"{pad}{name}: |\n" + "".join(f"{pad}    {l}\n" for l in x.splitlines())
        elif isinstance(x, str) and x.startswith("ENC["): out += f"{pad}{name}: {x}\n"
        else: out += f"{pad}{name}: {json.dumps(x, ensure_ascii=False)}\n"
    return out

def seal(docs, to, rule_name=None, rule_text="", only=False, fmt="yaml"):
    key = os.urandom(32)
    def rule(path):
        if rule_name == "encrypted_regex": return any(re.search(rule_text, p) for p in path)
        if rule_name == "unencrypted_regex": return not any(re.search(rule_text, p) for p in path)
        if rule_name == "encrypted_suffix": return any(p.endswith(rule_text) for p in path)
        return not any(p.endswith(rule_text or "_unencrypted") for p in path)
    mac = hashlib.sha512()
    if only: mac.update(hashlib.sha256(b"sops").digest())
    docs = [walk(key, d, [], rule, only, mac) for d in docs]
    header = {"age": [{"recipient": r, "enc": pyrage.encrypt(key, [pyrage.x25519.Recipient.from_str(r)], armored=True).decode()} for r in to],
              "lastmodified": WHEN, "mac": enc(key, mac.hexdigest().upper(), WHEN)}
    if rule_name: header[rule_name] = rule_text
    if only: header["mac_only_encrypted"] = True
    header["version"] = "3.11.0"
    if fmt == "json":
        return json.dumps({**docs[0], "sops": {"kms": None, "pgp": None, **header}}, indent="\t", ensure_ascii=False) + "\n"
    for i, d in enumerate(docs): d["sops"] = header
    return "---\n".join(yaml(d) for d in docs)

K8S = ("encrypted_regex", "^(data|stringData)$")
head = lambda name, **m: {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **m}}
many = {**head("kinds", labels={"tier": "gold", "ä": "ö"}), "type": "Opaque",
        Comment(" a comment in clear"): None,
        "stringData": {Comment(" an encrypted comment"): None, "password": "hunter2 ü 😀", "empty": "", "lines": "one\ntwo\n", "colon: yes": "a:b:c",
                       "long": "x" * 5000, "looks": "42", "tab": "a\tb"}}
spec = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "nested"},
        "replicas": 3, "ratio": 0.25, "on": True, "off": False, "none": None, "big": 1000000.0,
        "spec": {"list": ["a", 1, 2.5, True, None, {"deep": {"er": ["x", "y"]}}], "int": -7, "float": 3.75, "whole": 2.0, "bool": False,
                 "map": {}, "nothing": None}}
def plain(v):
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items() if not isinstance(k, Comment) and k != "sops"}
    return [plain(x) for x in v] if isinstance(v, list) else v
def whole(v):
    if isinstance(v, dict): return {k: whole(x) for k, x in v.items()}
    if isinstance(v, list): return [whole(x) for x in v]
    return int(v) if isinstance(v, float) and v == int(v) else v
rows = []
def row(name, docs, to, fmt="yaml", **kw):
    rows.append({"name": name, "format": fmt, "text": seal(docs, to, fmt=fmt, **kw), "objects": [whole(plain(d)) for d in docs]})
k8s = dict(rule_name=K8S[0], rule_text=K8S[1])
row("comments, unicode, empty and long values", [many], [OWN], **k8s)
row("lists, maps, numbers and booleans", [spec], [OWN], rule_name="encrypted_regex", rule_text="^spec$")
row("documents that share a MAC", [{**head("one"), "stringData": {"a": "first"}}, {**head("two"), "stringData": {"a": "second"}}], [OWN], **k8s)
row("JSON", [{**head("json"), "stringData": {"a": "<&> \" \\ ü"}, "n": 12, "f": 1.5}], [OWN], fmt="json", **k8s)
row("several recipients", [{**head("shared"), "stringData": {"a": "b"}}], [OTHER, OWN], **k8s)
row("a MAC of encrypted values only", [{**head("only"), "stringData": {"a": "b"}}], [OWN], only=True, **k8s)
row("all but what ends with a suffix", [{"apiVersion_x": "v1", "kind_x": "Secret", "metadata_x": {"a": 1}, "b": {"c": 2}}], [OWN],
    rule_name="unencrypted_suffix", rule_text="_x")
row("only what ends with a suffix", [{**head("suffix"), "dataSecret": {"a": "b"}, "data": {"c": "d"}}], [OWN],
    rule_name="encrypted_suffix", rule_text="Secret")
row("all but what matches", [{**head("except"), "data": {"PLAIN": "c", "TOKEN": "d"}}], [OWN],
    rule_name="unencrypted_regex", rule_text="^(apiVersion|kind|metadata|PLAIN)$")
row("for others", [{**head("theirs"), "stringData": {"a": "b"}}], [OTHER], **k8s)
json.dump(rows, sys.stdout, indent=1, ensure_ascii=False); print()
