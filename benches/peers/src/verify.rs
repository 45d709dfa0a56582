//! Ways from headers and body to the verdict.
//!
//! 1. `oss-callback` is the whole of it: headers and target are parsed, the signature is decoded and
//!    opened, the message hashed, and the proof made. `oss-callback, refused` is given a signature
//!    that is below the modulus and opens to nothing, and ends there. This is the whole way to a
//!    signature that does not open, headers and base64 included: an upper bound of opening alone,
//!    which the crate does not offer.
//! 2. `OpenSSL, opening` is the RSA operation alone, on a signature that is decoded already.
//!    `OpenSSL, opening + MD5` also hashes a message that is built already: nobody who verifies
//!    with OpenSSL can do less.
//! 3. All others do what an application does by hand: decode the signature, build the message, verify.
//!    The key is parsed once, except where the name says `PEM per request`.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use md5::{Digest, Md5};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Public},
    rsa::{Padding, Rsa},
    sign::Verifier as EvpVerifier,
};
use oss_callback::{PublicKey, Verifier};
use rsa::{Pkcs1v15Sign, RsaPublicKey, pkcs8::DecodePublicKey};

use crate::{
    OURS, Result,
    callback::{self, Callback, VECTORS},
    measure::{Runner, Way},
};

pub const REFUSED: &str = "oss-callback, refused";
pub const OPENING: &str = "OpenSSL, opening";
pub const OPENING_MD5: &str = "OpenSSL, opening + MD5";
pub const EVP: &str = "OpenSSL, EVP";
pub const RSA: &str = "rsa";
pub const RSA_PEM: &str = "rsa, PEM per request";

/// A program that runs the ways of another language: its name, the variable that names its
/// interpreter, the usual interpreter, the script.
const RUNTIMES: [(&str, &str, &str, &str); 2] = [
    ("Node", "NODE", "node", "ways.mjs"),
    ("Python", "PYTHON", "python3", "ways.py"),
];

/// All ways that can run here, and the versions of what they are made with.
pub fn ways() -> Result<(Vec<Way>, Vec<String>)> {
    let mut ways = rust_ways()?;
    let mut versions = vec![openssl::version::version().to_owned()];
    for (name, variable, default, script) in RUNTIMES {
        let interpreter = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        match Foreign::start(&interpreter, script) {
            Ok(foreign) => {
                versions.push(foreign.version);
                for way in foreign.ways {
                    let interpreter = interpreter.clone();
                    ways.push(Way {
                        name: format!("{name}, {way}"),
                        start: Box::new(move || Foreign::start(&interpreter, script)?.run(&way)),
                    });
                }
            }
            Err(error) => eprintln!("without {name}: {error}"),
        }
    }
    Ok((ways, versions))
}

fn rust_ways() -> Result<Vec<Way>> {
    let official = Arc::new(callback::official());
    let pem: Arc<str> = callback::key_pem().into();

    let ours = Verifier::new(PublicKey::from_pem(&pem)?);
    let evp = PKey::public_key_from_pem(pem.as_bytes())?;
    let raw = Rsa::public_key_from_pem(pem.as_bytes())?;
    let plain = RsaPublicKey::from_public_key_pem(&pem)?;
    for (callback, genuine) in [(&*official, true), (&official.altered(), false)] {
        assert_eq!(verify(&ours, callback), genuine);
        assert_eq!(verify_evp(&evp, callback), genuine);
        assert_eq!(verify_rsa(&plain, callback), genuine);
    }
    let (garbage, signature) = (Arc::new(official.garbage()), official.signature());
    let (signature, message) = (signature.ok_or("not base64")?, official.message());
    assert!(!verify(&ours, &garbage));
    // As a number it is below the modulus, or this would panic: refusing it takes the whole opening.
    let nothing = garbage.signature().ok_or("not base64")?;
    assert!(!open_raw(&raw, &nothing).starts_with(&[0, 1]));
    assert!(open_raw(&raw, &signature).ends_with(&Md5::digest(&message)));

    let call = {
        let official = Arc::clone(&official);
        move || Arc::clone(&official)
    };
    let (genuine, refused) = (call(), garbage);
    let refusing = ours.clone();
    let (opening, opened) = (raw.clone(), signature.clone());
    let (for_evp, for_rsa, for_pem) = (call(), call(), call());
    Ok(vec![
        Way::new(OURS, move || verify(&ours, &genuine)),
        Way::new(REFUSED, move || verify(&refusing, &refused)),
        Way::new(OPENING, move || open_raw(&opening, &opened)),
        Way::new(OPENING_MD5, move || {
            (open_raw(&raw, &signature), Md5::digest(&message))
        }),
        Way::new(EVP, move || verify_evp(&evp, &for_evp)),
        Way::new(RSA, move || verify_rsa(&plain, &for_rsa)),
        Way::new(RSA_PEM, move || {
            let key = RsaPublicKey::from_public_key_pem(&pem);
            key.is_ok_and(|key| verify_rsa(&key, &for_pem))
        }),
    ])
}

fn verify(verifier: &Verifier, callback: &Callback) -> bool {
    verifier
        .verify(&callback.target, &callback.headers, callback.body.clone())
        .is_ok()
}

/// The signature to the power of the exponent, padding and all.
fn open_raw(key: &Rsa<Public>, signature: &[u8]) -> [u8; 64] {
    let mut opened = [0; 64];
    key.public_decrypt(signature, &mut opened, Padding::NONE)
        .expect("the signature is below the modulus");
    opened
}

fn verify_evp(key: &PKey<Public>, callback: &Callback) -> bool {
    let verdict = || {
        let mut verifier = EvpVerifier::new(MessageDigest::md5(), key).ok()?;
        let signature = callback.signature()?;
        verifier
            .verify_oneshot(&signature, &callback.message())
            .ok()
    };
    verdict().unwrap_or(false)
}

fn verify_rsa(key: &RsaPublicKey, callback: &Callback) -> bool {
    let digest = Md5::digest(callback.message());
    callback.signature().is_some_and(|signature| {
        key.verify(Pkcs1v15Sign::new::<Md5>(), &digest, &signature)
            .is_ok()
    })
}

/// Another language's runtime. It says its version and its ways, each on a line, has then checked
/// them, and answers `<way> <calls>` with the nanoseconds that they took.
struct Foreign {
    version: String,
    ways: Vec<String>,
    process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Foreign {
    fn start(interpreter: &str, script: &str) -> Result<Self> {
        let mut process = Command::new(interpreter)
            .arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")))
            .arg(VECTORS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no stdin")?;
        let output = process.stdout.take().ok_or("no stdout")?;
        let mut output = BufReader::new(output).lines();
        let process = Process(process);
        let version = line(&mut output)?;
        let ways = line(&mut output)?.split('\t').map(str::to_owned).collect();
        Ok(Self {
            version,
            ways,
            process,
            input,
            output,
        })
    }

    fn run(mut self, way: &str) -> Result<Runner> {
        let way = self.ways.iter().position(|name| name == way);
        let way = way.ok_or("a way that was there is gone")?;
        Ok(Box::new(move |calls| {
            let _running = &self.process;
            writeln!(self.input, "{way} {calls}")?;
            Ok(Duration::from_nanos(line(&mut self.output)?.parse()?))
        }))
    }
}

fn line(output: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    Ok(output.next().ok_or("the runtime ended")??)
}
