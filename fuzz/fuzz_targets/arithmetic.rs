//! `R² mod n` and `s^e mod n` are those of big integers, for every length of modulus.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use oss_callback::fuzzing::{Arithmetic, arithmetic};
use rsa::BigUint;

#[derive(Debug)]
struct Input {
    n: BigUint,
    exponent: u32,
    signature: Signature,
}

#[derive(Arbitrary, Debug)]
enum Signature {
    /// Below the modulus, and padded to its length.
    Below(Vec<u8>),
    /// So much above or below the modulus.
    Near(i16),
    Bytes(Vec<u8>),
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let bits: usize = match input.int_in_range(0..=3)? {
            // Around the widths for which there is code of its own, and the limits of a key.
            0 => 64 * input.int_in_range(1..=64)?,
            1 => 512,
            _ => input.int_in_range(2..=4096)?,
        };
        let one = BigUint::from(1_u8);
        let highest = &one << (bits - 1);
        let fill: [u8; 3] = [input.arbitrary()?, 0x00, 0xff];
        let mut bytes = vec![*input.choose(&fill)?; bits / 8 + 1];
        for byte in input.arbitrary_iter::<(u16, u8)>()? {
            let (position, byte) = byte?;
            let length = bytes.len();
            bytes[usize::from(position) % length] = byte;
        }
        let n = (BigUint::from_bytes_be(&bytes) % &highest) | &highest | one;
        let exponent = 2 * input.int_in_range(1..=u32::MAX / 2)? + 1;
        let exponent = *input.choose(&[3, 65_537, u32::MAX, exponent])?;
        let signature = input.arbitrary()?;
        Ok(Self {
            n,
            exponent,
            signature,
        })
    }
}

fuzz_target!(|input: Input| {
    let Input {
        n,
        exponent,
        signature,
    } = input;
    let length = n.bits().div_ceil(8);
    let signature = match signature {
        Signature::Below(bytes) => padded(&(BigUint::from_bytes_be(&bytes) % &n), length),
        Signature::Near(difference) if difference < 0 => {
            let difference = BigUint::from(difference.unsigned_abs()) % &n;
            padded(&(&n - difference), length)
        }
        Signature::Near(difference) => {
            padded(&(&n + BigUint::from(difference.unsigned_abs())), length)
        }
        Signature::Bytes(bytes) => bytes,
    };
    let number = BigUint::from_bytes_be(&signature);
    let expected = (signature.len() == length && number < n)
        .then(|| padded(&number.modpow(&BigUint::from(exponent), &n), length));

    let Arithmetic {
        bits,
        r_squared,
        opened,
    } = arithmetic(&n.to_bytes_be(), exponent, &signature);
    assert_eq!(bits, n.bits());
    let r = BigUint::from(1_u8) << (8 * r_squared.len());
    assert_eq!(BigUint::from_bytes_be(&r_squared), &r * &r % &n);
    assert_eq!(opened, expected);
});

fn padded(number: &BigUint, length: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; length.saturating_sub(bytes.len())];
    padded.extend_from_slice(&bytes);
    padded
}
