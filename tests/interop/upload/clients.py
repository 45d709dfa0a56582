"""What oss2 and alibabacloud-oss-v2 sign, for the cases on the standard input.

Each case is signed at the present time, which the answer repeats.
"""

import calendar
import datetime
import json
import sys
import time
from urllib.parse import parse_qsl, urlsplit

import alibabacloud_oss_v2 as oss_v2
import oss2
from alibabacloud_oss_v2 import signer
from alibabacloud_oss_v2.credentials import Credentials
from alibabacloud_oss_v2.types import HttpRequest, SigningContext


def from_basic(date):
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


def signed_url(case, url):
    query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if case["version"] == "V4":
        now = from_basic(query["x-oss-date"])
    else:
        now = int(query["Expires"]) - case["life"]
    return {"now": now, "path": urlsplit(url).path, "query": query}


def signature(authorization):
    return authorization.split("Signature=")[1]


def with_oss2(case):
    version = oss2.AUTH_VERSION_4 if case["version"] == "V4" else oss2.AUTH_VERSION_1
    if case["token"]:
        auth = oss2.StsAuth(case["id"], case["secret"], case["token"], version)
    else:
        auth = oss2.make_auth(case["id"], case["secret"], version)
    bucket = oss2.Bucket(auth, case["endpoint"], case["bucket"], region=case["region"])
    if case["op"] == "put":
        url = bucket.sign_url(
            "PUT",
            case["key"],
            case["life"],
            headers=dict(case["headers"]),
            params=dict(case["query"]),
            slash_safe=True,
        )
        return signed_url(case, url)
    if case["op"] == "head":
        request = oss2.http.Request(
            "HEAD", bucket._make_url(case["bucket"], case["key"]), region=case["region"], product="oss"
        )
        auth._sign_request(request, case["bucket"], case["key"])
        return {
            "now": from_basic(request.headers["x-oss-date"]),
            "signature": signature(request.headers["authorization"]),
        }
    return None


def with_oss_v2(case):
    credentials = (case["id"], case["secret"], case["token"])
    if case["op"] == "put":
        config = oss_v2.config.load_default()
        config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(*credentials)
        config.region = case["region"]
        config.signature_version = case["version"].lower()
        client = oss_v2.Client(config)
        request = oss_v2.PutObjectRequest(
            bucket=case["bucket"],
            key=case["key"],
            headers=dict(case["headers"]),
            parameters=dict(case["query"]),
        )
        # Half a second, as it rounds what is left of the lifetime down.
        expires = datetime.timedelta(seconds=case["life"], milliseconds=500)
        return signed_url(case, client.presign(request, expires=expires).url)
    if case["op"] == "head":
        request = HttpRequest(method="HEAD", url=f"https://{case['bucket']}.example/")
        context = SigningContext(
            product="oss",
            region=case["region"],
            bucket=case["bucket"],
            key=case["key"],
            request=request,
            credentials=Credentials(*credentials),
        )
        signer.SignerV4().sign(context)
        return {
            "now": from_basic(request.headers["x-oss-date"]),
            "signature": signature(request.headers["Authorization"]),
        }
    return None


cases = json.load(sys.stdin)
clients = {"oss2": with_oss2, "alibabacloud-oss-v2": with_oss_v2}
answers = {}
for name, sign in clients.items():
    signed = ((case["name"], sign(case)) for case in cases)
    answers[name] = {case: answer for case, answer in signed if answer}
json.dump(answers, sys.stdout, ensure_ascii=False)
