// Node's ways. See `Foreign` in src/verify.rs for the protocol.
import crypto from "node:crypto";
import fs from "node:fs";
import readline from "node:readline";

const vectors = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const pem = vectors.key_pem;
const official = vectors.callbacks[0];
const altered = { ...official, body: "bucket=yonghu-best" };
const key = crypto.createPublicKey(pem);
const opening = { key, padding: crypto.constants.RSA_PKCS1_PADDING };

const message = (callback) =>
  Buffer.from(`${decodeURIComponent(callback.path)}${callback.query}\n${callback.body}`);
const signature = (callback) => Buffer.from(callback.authorization, "base64");

const ways = {
  "crypto.verify": (callback) =>
    crypto.verify("RSA-MD5", message(callback), key, signature(callback)),
  "crypto.publicDecrypt": (callback) => {
    // The digest is the end of what the signature opens to.
    const opened = crypto.publicDecrypt(opening, signature(callback));
    const digest = crypto.createHash("md5").update(message(callback)).digest();
    return opened.subarray(18).equals(digest);
  },
  "PEM per request": (callback) =>
    crypto.createVerify("RSA-MD5").update(message(callback)).verify(pem, signature(callback)),
};

for (const [name, way] of Object.entries(ways)) {
  if (!way(official) || way(altered)) throw new Error(`${name} does not verify`);
}
console.log(`Node ${process.versions.node} with OpenSSL ${process.versions.openssl}`);
console.log(Object.keys(ways).join("\t"));

const list = Object.values(ways);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [index, calls] = line.split(" ").map(Number);
  const way = list[index];
  let genuine = 0;
  const start = process.hrtime.bigint();
  for (let call = 0; call < calls; call++) genuine += way(official);
  const elapsed = process.hrtime.bigint() - start;
  if (genuine !== calls) throw new Error("refused");
  console.log(`${elapsed}`);
}
