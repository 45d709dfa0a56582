// What ali-oss signs, for the cases on the standard input. Each URL is signed at the present time,
// which the answer repeats.

const OSS = require('ali-oss');

function fromBasic(date) {
  return Date.parse(date.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z')) / 1000;
}

function signedUrl(item, text) {
  const url = new URL(text);
  const query = Object.fromEntries(url.searchParams);
  const now = item.version === 'V4' ? fromBasic(query['x-oss-date']) : query.Expires - item.life;
  return { now, path: url.pathname, query };
}

async function withAliOss(item) {
  const client = new OSS({
    accessKeyId: item.id,
    accessKeySecret: item.secret,
    stsToken: item.token || undefined,
    bucket: item.bucket,
    region: `oss-${item.region}`,
    secure: true,
    refreshSTSTokenInterval: 1e9,
  });
  if (item.op === 'put' && item.version === 'V4') {
    const request = { headers: item.headers, queries: item.query };
    return signedUrl(item, await client.signatureUrlV4('PUT', item.life, request, item.key));
  }
  if (item.op === 'put') {
    const options = { method: 'PUT', expires: item.life, subResource: { ...item.query }, ...item.headers };
    return signedUrl(item, await client.asyncSignatureUrl(item.key, options));
  }
  if (item.op === 'policy') {
    const signature =
      item.version === 'V4'
        ? client.signPostObjectPolicyV4(item.policy, new Date(item.now * 1000))
        : client.calculatePostSignature(item.policy).Signature;
    return { now: item.now, signature };
  }
  return null;
}

(async () => {
  const items = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const answers = {};
  for (const item of items) {
    const answer = await withAliOss(item);
    if (answer) answers[item.name] = answer;
  }
  process.stdout.write(JSON.stringify({ 'ali-oss': answers }));
})();
