// Uploads with ali-oss, as its documentation shows, what the standard input asks for. Answers with
// what its caller sees: a status and a body, or the error that was thrown.

const OSS = require('ali-oss');

const PART = 100 * 1024;

function withAliOss(setup, item) {
  return new OSS({
    accessKeyId: setup.id,
    accessKeySecret: setup.secret,
    stsToken: setup.token || undefined,
    refreshSTSTokenInterval: 1e9,
    endpoint: setup.endpoint,
    region: 'oss-cn-hangzhou',
    bucket: setup.bucket,
    authorizationV4: item.version === 'V4',
  });
}

// The SDK puts `x:` before each name itself.
function callbackOf(item) {
  const customValue = {};
  for (const [name, value] of Object.entries(item.vars)) customValue[name.slice(2)] = value;
  return {
    url: item.callback.callbackUrl,
    body: item.callback.callbackBody,
    contentType: item.callback.callbackBodyType,
    customValue,
  };
}

const encoded = value => Buffer.from(JSON.stringify(value)).toString('base64');

async function answerOf(response) {
  return { status: response.status, body: await response.text() };
}

async function post(client, setup, item) {
  const callback = encoded(item.callback);
  const conditions = [{ bucket: setup.bucket }, ['eq', '$key', item.key], { callback }];
  const form = new FormData();
  form.append('key', item.key);
  form.append('callback', callback);
  for (const [name, value] of Object.entries(item.vars)) form.append(name, value);
  const policy = { expiration: '2099-01-01T00:00:00.000Z', conditions };
  const field = (name, value) => {
    conditions.push({ [name]: value });
    form.append(name, value);
  };
  if (setup.token) field('x-oss-security-token', setup.token);
  if (item.version === 'V4') {
    const now = new Date();
    const date = now.toISOString().replace(/[-:]|\.\d+/g, '');
    field('x-oss-signature-version', 'OSS4-HMAC-SHA256');
    field('x-oss-credential', `${setup.id}/${date.slice(0, 8)}/cn-hangzhou/oss/aliyun_v4_request`);
    field('x-oss-date', date);
    form.append('policy', encoded(policy));
    form.append('x-oss-signature', client.signPostObjectPolicyV4(policy, now));
  } else {
    const signed = client.calculatePostSignature(policy);
    form.append('OSSAccessKeyId', signed.OSSAccessKeyId);
    form.append('policy', signed.policy);
    form.append('Signature', signed.Signature);
  }
  form.append('file', new Blob([item.content], { type: 'text/plain' }), 'upload.txt');
  return answerOf(await fetch(`${setup.endpoint}/${setup.bucket}`, { method: 'POST', body: form }));
}

async function run(setup, item) {
  const client = withAliOss(setup, item);
  const content = Buffer.from(item.content);
  if (item.op === 'put') {
    const result = await client.put(item.key, content, { callback: callbackOf(item) });
    return { status: result.res.status, body: JSON.stringify(result.data) };
  }
  if (item.op === 'multipart') {
    const whole = Buffer.concat([Buffer.alloc(PART, 'z'), content]);
    const options = { partSize: PART, parallel: 2, callback: callbackOf(item) };
    const result = await client.multipartUpload(item.key, whole, options);
    return { status: result.res.status, body: JSON.stringify(result.data) };
  }
  if (item.op === 'presign-query') {
    const queries = { callback: encoded(item.callback), 'callback-var': encoded(item.vars) };
    const url = await client.signatureUrlV4('PUT', 600, { queries }, item.key);
    return answerOf(await fetch(url, { method: 'PUT', body: content }));
  }
  if (item.op === 'post') return post(client, setup, item);
  throw new Error(item.op);
}

(async () => {
  const setup = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const answers = {};
  for (const item of setup.cases.filter(item => item.sdk === 'ali-oss')) {
    try {
      answers[item.name] = await run(setup, item);
    } catch (error) {
      answers[item.name] = { status: error.status, error: error.code || String(error) };
    }
  }
  process.stdout.write(JSON.stringify(answers));
})();
