"""Python's ways. See `Foreign` in src/verify.rs for the protocol."""

import base64
import json
import platform
import sys
import time
from importlib.metadata import version
from urllib.parse import unquote_to_bytes

from Crypto.Hash import MD5
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key

with open(sys.argv[1], encoding="utf-8") as file:
    vectors = json.load(file)
pem = vectors["key_pem"].encode()
official = vectors["callbacks"][0]
altered = official | {"body": "bucket=yonghu-best"}


def message(callback):
    path = unquote_to_bytes(callback["path"])
    return path + callback["query"].encode() + b"\n" + callback["body"].encode()


def with_cryptography(callback, key):
    signature = base64.b64decode(callback["authorization"])
    try:
        key.verify(signature, message(callback), padding.PKCS1v15(), hashes.MD5())
    except InvalidSignature:
        return False
    return True


def with_pycryptodome(callback, key):
    signature = base64.b64decode(callback["authorization"])
    try:
        pkcs1_15.new(key).verify(MD5.new(message(callback)), signature)
    except ValueError:
        return False
    return True


of_cryptography, of_pycryptodome = load_pem_public_key(pem), RSA.import_key(pem)
ways = {
    "cryptography": lambda it: with_cryptography(it, of_cryptography),
    "pycryptodome": lambda it: with_pycryptodome(it, of_pycryptodome),
    "PEM per request": lambda it: with_cryptography(it, load_pem_public_key(pem)),
}

for name, way in ways.items():
    if not way(official) or way(altered):
        sys.exit(f"{name} does not verify")
packages = [f"{name} {version(name)}" for name in ("cryptography", "pycryptodome")]
print(f"Python {platform.python_version()} with {', '.join(packages)}", flush=True)
print("\t".join(ways), flush=True)

listed = list(ways.values())
for line in sys.stdin:
    index, calls = map(int, line.split())
    way = listed[index]
    genuine = 0
    start = time.perf_counter_ns()
    for _ in range(calls):
        genuine += way(official)
    elapsed = time.perf_counter_ns() - start
    if genuine != calls:
        sys.exit("refused")
    print(elapsed, flush=True)
