"""Uploads with oss2 and alibabacloud-oss-v2, as their documentation shows, what the standard input asks for.

Answers with what the caller of each SDK sees: a status and a body.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

import alibabacloud_oss_v2 as oss_v2
import oss2
import requests

PART = 100 * 1024


def encoded(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


def callback_of(case):
    return encoded(case["callback"]), encoded(case["vars"])


def answer(response):
    return {"status": response.status_code, "body": response.text}


def with_oss2(setup, case):
    version = oss2.AUTH_VERSION_4 if case["version"] == "V4" else oss2.AUTH_VERSION_1
    if setup["token"]:
        auth = oss2.StsAuth(setup["id"], setup["secret"], setup["token"], version)
    else:
        auth = oss2.make_auth(setup["id"], setup["secret"], version)
    bucket = oss2.Bucket(auth, setup["endpoint"], setup["bucket"], region="cn-hangzhou")
    callback, variables = callback_of(case)
    headers = {"x-oss-callback": callback, "x-oss-callback-var": variables}
    content = case["content"].encode()
    key = case["key"]
    if case["op"] == "put":
        result = bucket.put_object(key, content, headers=headers)
        return {"status": result.status, "body": result.resp.read().decode()}
    if case["op"] == "multipart":
        upload = bucket.init_multipart_upload(key).upload_id
        parts = []
        for number, body in enumerate((b"z" * PART, content), 1):
            part = bucket.upload_part(key, upload, number, body)
            parts.append(oss2.models.PartInfo(number, part.etag, size=len(body), part_crc=part.crc))
        result = bucket.complete_multipart_upload(key, upload, parts, headers=headers)
        return {"status": result.status, "body": result.resp.read().decode()}
    if case["op"] == "presign-header":
        url = bucket.sign_url("PUT", key, 600, headers=headers, slash_safe=True)
        return answer(requests.put(url, data=content, headers=headers))
    if case["op"] == "presign-query":
        params = {"callback": callback, "callback-var": variables}
        url = bucket.sign_url("PUT", key, 600, params=params, slash_safe=True)
        return answer(requests.put(url, data=content))
    if case["op"] == "post":
        return post(setup, case, callback)
    raise ValueError(case["op"])


def post(setup, case, callback):
    """As the service's documentation does it by hand: no SDK posts the form itself."""
    conditions = [{"bucket": setup["bucket"]}, ["eq", "$key", case["key"]], {"callback": callback}]
    fields = [("key", case["key"]), ("callback", callback)]
    fields += case["vars"].items()
    now = time.gmtime()
    if case["version"] == "V4":
        day = time.strftime("%Y%m%d", now)
        for name, value in (
            ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
            ("x-oss-credential", f"{setup['id']}/{day}/cn-hangzhou/oss/aliyun_v4_request"),
            ("x-oss-date", time.strftime("%Y%m%dT%H%M%SZ", now)),
        ):
            conditions.append({name: value})
            fields.append((name, value))
    if setup["token"]:
        conditions.append({"x-oss-security-token": setup["token"]})
        fields.append(("x-oss-security-token", setup["token"]))
    policy = encoded({"expiration": "2099-01-01T00:00:00.000Z", "conditions": conditions})
    fields.append(("policy", policy))
    secret = setup["secret"]
    if case["version"] == "V4":
        key = ("aliyun_v4" + secret).encode()
        for part in (day, "cn-hangzhou", "oss", "aliyun_v4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        fields.append(("x-oss-signature", hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()))
    else:
        signature = hmac.new(secret.encode(), policy.encode(), hashlib.sha1).digest()
        fields.append(("OSSAccessKeyId", setup["id"]))
        fields.append(("Signature", base64.b64encode(signature).decode()))
    files = [(name, (None, value)) for name, value in fields]
    files.append(("file", ("upload.txt", case["content"].encode(), "text/plain")))
    return answer(requests.post(f"{setup['endpoint']}/{setup['bucket']}", files=files))


def with_oss_v2(setup, case):
    config = oss_v2.config.load_default()
    config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(
        setup["id"], setup["secret"], setup["token"] or None
    )
    config.region = "cn-hangzhou"
    config.endpoint = setup["endpoint"]
    config.signature_version = case["version"].lower()
    client = oss_v2.Client(config)
    callback, variables = callback_of(case)
    place = {"bucket": setup["bucket"], "key": case["key"]}
    content = case["content"].encode()
    if case["op"] == "put":
        request = oss_v2.PutObjectRequest(**place, body=content, callback=callback, callback_var=variables)
        result = client.put_object(request)
        return {"status": result.status_code, "body": text_of(result.callback_result)}
    if case["op"] == "multipart":
        upload = client.initiate_multipart_upload(oss_v2.InitiateMultipartUploadRequest(**place)).upload_id
        parts = []
        for number, body in enumerate((b"z" * PART, content), 1):
            part = client.upload_part(
                oss_v2.UploadPartRequest(**place, part_number=number, upload_id=upload, body=body)
            )
            parts.append(oss_v2.UploadPart(part_number=number, etag=part.etag))
        result = client.complete_multipart_upload(
            oss_v2.CompleteMultipartUploadRequest(
                **place,
                upload_id=upload,
                complete_multipart_upload=oss_v2.CompleteMultipartUpload(parts=parts),
                callback=callback,
                callback_var=variables,
            )
        )
        return {"status": result.status_code, "body": text_of(result.callback_result)}
    if case["op"] == "presign-header":
        signed = client.presign(oss_v2.PutObjectRequest(**place, callback=callback, callback_var=variables))
        return answer(requests.put(signed.url, data=content, headers=signed.signed_headers))
    if case["op"] == "presign-query":
        request = oss_v2.PutObjectRequest(
            **place, parameters={"callback": callback, "callback-var": variables}
        )
        signed = client.presign(request)
        return answer(requests.put(signed.url, data=content, headers=signed.signed_headers))
    raise ValueError(case["op"])


def text_of(result):
    return result if isinstance(result, str) else json.dumps(result)


def main():
    setup = json.load(sys.stdin)
    sdks = {"oss2": with_oss2, "oss-v2": with_oss_v2}
    answers = {}
    for case in setup["cases"]:
        if case["sdk"] in sdks:
            try:
                answers[case["name"]] = sdks[case["sdk"]](setup, case)
            except Exception as error:  # What the caller sees is the answer.
                answers[case["name"]] = {"error": repr(error)}
    json.dump(answers, sys.stdout)


main()
