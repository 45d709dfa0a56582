"""Tickets by PyJWT. `make EXP` prints some that expire then; `verify` checks one from stdin."""

import json
import sys

import jwt

SECRET = b"a secret of 256 bits, for tests."


def make(exp):
    least = {"exp": exp, "jti": "1", "object": "u/7/a"}
    most = {
        "exp": exp,
        "nbf": exp - 600,
        "jti": "upload-1",
        "aud": ["uploads"],
        "bucket": "photos",
        "object_prefix": "u/7/",
        "max_size": 100,
        "content_types": ["image/png"],
        "app": {"user": 7, "name": "Zo\u00eb \"Z\""},
    }
    kid = {"kid": "k1"}
    return {
        "the default header": jwt.encode(least, SECRET, "HS256"),
        "all claims": jwt.encode(most, SECRET, "HS256"),
        "a kid": jwt.encode(least, SECRET, "HS256", headers=kid),
        "a kid, unsorted": jwt.encode(
            least, SECRET, "HS256", headers=kid, sort_headers=False
        ),
        "no typ": jwt.encode(least, SECRET, "HS256", headers={"typ": None}),
    }


def verify(ticket):
    return jwt.decode(ticket, SECRET, ["HS256"], audience="uploads")


if sys.argv[1] == "make":
    print(json.dumps(make(int(sys.argv[2])), indent=2))
else:
    print(json.dumps(verify(sys.stdin.read())))
