// Tickets by jose. `make EXP` prints some that expire then; `verify` checks one from stdin.
const { readFileSync } = require("node:fs");
const { SignJWT, jwtVerify } = require("jose");

const secret = new TextEncoder().encode("a secret of 256 bits, for tests.");

async function make(exp) {
  const sign = (header, claims) =>
    new SignJWT(claims).setProtectedHeader(header).setExpirationTime(exp).sign(secret);
  const least = { jti: "1", object: "u/7/a" };
  const most = {
    nbf: exp - 600,
    jti: "upload-1",
    aud: "uploads",
    bucket: "photos",
    object_prefix: "u/7/",
    max_size: 100,
    content_types: ["image/png"],
    app: { user: 7, name: 'Zo\u00eb "Z"' },
  };
  return {
    "alg alone": await sign({ alg: "HS256" }, least),
    "alg and typ": await sign({ alg: "HS256", typ: "JWT" }, least),
    "typ and alg": await sign({ typ: "JWT", alg: "HS256" }, least),
    "all claims": await sign({ alg: "HS256", typ: "JWT" }, most),
    "a kid": await sign({ alg: "HS256", kid: "k1" }, least),
    "a kid and typ": await sign({ alg: "HS256", typ: "JWT", kid: "k1" }, least),
    "a kid first": await sign({ kid: "k1", typ: "JWT", alg: "HS256" }, least),
  };
}

async function verify(ticket) {
  const options = { algorithms: ["HS256"], audience: "uploads" };
  return (await jwtVerify(ticket, secret, options)).payload;
}

(async () => {
  const [, , command, exp] = process.argv;
  const result =
    command === "make" ? await make(Number(exp)) : await verify(readFileSync(0, "utf8"));
  console.log(JSON.stringify(result, null, 2));
})();
