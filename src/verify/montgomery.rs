//! `s^e mod n`, prepared once per key: Montgomery multiplication in 64-bit limbs.
//!
//! 1. What depends on the key alone is computed when the key is read: `-n⁻¹ mod 2^64` and `R² mod n`,
//!    with `R = 2^(64 L)` for `L` limbs. `rsa` derives them for every signature anew, which costs it far
//!    more than the exponentiation of the 512-bit production key does.
//! 2. [`Field::multiply_by`] computes `a·b / R mod n` for any two numbers below `R`. The signature
//!    enters the Montgomery domain by one product with `R² mod n`. The exponent is odd, so its lowest
//!    bit is a last product with the plain signature, which leaves the domain on the way.
//! 3. All numbers here are public: the key, the signature, and what it opens to. So nothing is
//!    constant-time, and this file must never see a private exponent.
//! 4. It holds arithmetic alone. Lengths and padding are [`signature`](super::signature)'s. Property
//!    tests and a fuzz target hold it equal to the big integers of `rsa` for every length of modulus.

use std::fmt;

/// A loop over all limbs, written out in eights: for the production key, which has eight, no loop is
/// left, and every index is a constant, so that no bounds check is left either.
macro_rules! in_eights {
    (for $i:ident in $limbs:ident $body:block) => {
        for eight in (0..$limbs).step_by(8) {
            in_eights!($i, eight, $body, 0 1 2 3 4 5 6 7);
        }
    };
    ($i:ident, $eight:ident, $body:block, $($offset:literal)*) => {$({
        let $i = $eight + $offset;
        $body
    })*};
}

/// A modulus and an exponent, in the smallest of four widths that holds them. Lengths between these
/// are padded: only the four are worth code of their own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Modulus {
    /// The production key.
    Limbs8(Field<8>),
    Limbs16(Box<Field<16>>),
    Limbs32(Box<Field<32>>),
    Limbs64(Box<Field<64>>),
}

impl Modulus {
    /// Prepares an odd modulus of 2 to 4096 bits, in big-endian bytes of which the first is not zero,
    /// and an odd exponent above 1.
    pub(crate) fn new(n: &[u8], exponent: u32) -> Self {
        debug_assert!(n.first().is_some_and(|byte| *byte != 0));
        debug_assert!(n.last().is_some_and(|byte| byte & 1 == 1));
        debug_assert!(exponent & 1 == 1 && exponent > 1);
        match n.len() {
            0..=64 => Self::Limbs8(Field::new(n, exponent)),
            65..=128 => Self::Limbs16(Box::new(Field::new(n, exponent))),
            129..=256 => Self::Limbs32(Box::new(Field::new(n, exponent))),
            _ => Self::Limbs64(Box::new(Field::new(n, exponent))),
        }
    }

    /// The length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        match self {
            Self::Limbs8(field) => field.bits(),
            Self::Limbs16(field) => field.bits(),
            Self::Limbs32(field) => field.bits(),
            Self::Limbs64(field) => field.bits(),
        }
    }

    /// What `read` makes of `signature^e mod n`, in the modulus' own length. `None` unless the
    /// signature has exactly that length and is below the modulus.
    pub(crate) fn open<T>(&self, signature: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Self::Limbs8(field) => field.open(signature, read),
            Self::Limbs16(field) => field.open(signature, read),
            Self::Limbs32(field) => field.open(signature, read),
            Self::Limbs64(field) => field.open(signature, read),
        }
    }
}

/// The numbers of a key, for those that are written out again.
impl Modulus {
    /// `n` in big-endian bytes, of which the first is not zero, and the exponent.
    pub(crate) fn numbers(&self) -> (Vec<u8>, u32) {
        let (n, _, exponent) = self.limbs();
        let n = big_endian(n).skip_while(|byte| *byte == 0).collect();
        (n, exponent)
    }

    /// `n`, `R² mod n` and the exponent; the numbers in big-endian bytes, as many as R has.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parts(&self) -> (Vec<u8>, Vec<u8>, u32) {
        let (n, r_squared, exponent) = self.limbs();
        (
            big_endian(n).collect(),
            big_endian(r_squared).collect(),
            exponent,
        )
    }

    fn limbs(&self) -> (&[u64], &[u64], u32) {
        match self {
            Self::Limbs8(field) => (&field.n, &field.r_squared, field.exponent),
            Self::Limbs16(field) => (&field.n, &field.r_squared, field.exponent),
            Self::Limbs32(field) => (&field.n, &field.r_squared, field.exponent),
            Self::Limbs64(field) => (&field.n, &field.r_squared, field.exponent),
        }
    }
}

/// Integers modulo an odd number of at most `L` limbs, least significant limb first.
#[derive(PartialEq, Eq)]
pub(crate) struct Field<const L: usize> {
    n: [u64; L],
    /// `-n⁻¹ mod 2^64`.
    n_neg_inverse: u64,
    /// `R² mod n`.
    r_squared: [u64; L],
    exponent: u32,
    /// The length of the modulus in bytes.
    length: usize,
}

impl<const L: usize> Field<L> {
    fn new(n: &[u8], exponent: u32) -> Self {
        const { assert!(L % 8 == 0, "loops are written out in eights") };
        let limbs = limbs(n);
        let mut field = Self {
            n: limbs,
            n_neg_inverse: inverse(limbs[0]).wrapping_neg(),
            r_squared: [0; L],
            exponent,
            length: n.len(),
        };
        field.r_squared = field.r_squared();
        field
    }

    /// `R² mod n`, from doublings and squarings: there is no division here, and no number that is
    /// wider than the modulus.
    ///
    /// The Montgomery form of `x` is `x·R mod n`, so `R²` is that of `R`, which is 2 squared as often as
    /// `64 L` has factors of 2.
    fn r_squared(&self) -> [u64; L] {
        const {
            assert!(
                (64 * L).is_power_of_two(),
                "R is 2 squared a number of times"
            )
        };
        // The highest power of two below n. All numbers from here on are below n.
        let highest = self.bits() - 1;
        let mut power = [0; L];
        power[highest / 64] = 1 << (highest % 64);
        // Up to 2^(64 L + 1), the Montgomery form of 2.
        for _ in highest..=64 * L {
            self.double(&mut power);
        }
        for _ in 0..(64 * L).ilog2() {
            self.square(&mut power);
            // Below 2n, as the square of a number below n.
            if !less(&power, &self.n) {
                subtract(&mut power, &self.n);
            }
        }
        power
    }

    /// `a = 2a mod n`, for a number below `n`.
    fn double(&self, a: &mut [u64; L]) {
        let mut shifted_out = 0;
        for limb in a.iter_mut() {
            (*limb, shifted_out) = (*limb << 1 | shifted_out, *limb >> 63);
        }
        // A bit that was shifted out of the highest limb is borrowed back here.
        if shifted_out == 1 || !less(a, &self.n) {
            subtract(a, &self.n);
        }
    }

    fn bits(&self) -> usize {
        let highest = self.n.iter().rposition(|limb| *limb != 0);
        highest.map_or(0, |index| 64 * index + self.n[index].ilog2() as usize + 1)
    }

    fn open<T>(&self, signature: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if signature.len() != self.length {
            return None;
        }
        let signature = limbs(signature);
        if !less(&signature, &self.n) {
            return None;
        }
        let mut opened = self.pow(&signature).map(u64::to_be_bytes);
        opened.reverse();
        Some(read(&opened.as_flattened()[8 * L - self.length..]))
    }

    fn pow(&self, base: &[u64; L]) -> [u64; L] {
        let mut in_domain = *base;
        self.multiply_by(&mut in_domain, &self.r_squared);
        let mut power = in_domain;
        // From the bit below the highest down to the second lowest: the highest is `power` itself, the
        // lowest the product that leaves the domain. The exponent is public, so branches may tell it.
        for bit in (1..self.exponent.ilog2()).rev() {
            self.square(&mut power);
            if self.exponent >> bit & 1 == 1 {
                self.multiply_by(&mut power, &in_domain);
            }
        }
        self.square(&mut power);
        self.multiply_by(&mut power, base);
        // `power` may be anything below R, but one factor of the last product is below n:
        // (R·n + R·n) / R, so the result is below 2n, and one subtraction makes it exact.
        if !less(&power, &self.n) {
            subtract(&mut power, &self.n);
        }
        power
    }

    /// `a = a·b / R mod n`, below `R`.
    fn multiply_by(&self, a: &mut [u64; L], b: &[u64; L]) {
        let mut product = [[0; L]; 2];
        let limbs = product.as_flattened_mut();
        in_eights!(for i in L {
            limbs[i + L] = add_multiple(&mut limbs[i..i + L], a[i], b);
        });
        self.reduce(product, a);
    }

    /// `a = a·a / R mod n`, below `R`: what two different limbs make is computed once, and doubled.
    fn square(&self, a: &mut [u64; L]) {
        let mut product = [[0; L]; 2];
        let limbs = product.as_flattened_mut();
        in_eights!(for i in L {
            if i + 1 < L {
                limbs[i + L] = add_multiple(&mut limbs[2 * i + 1..i + L], a[i], &a[i + 1..]);
            }
        });
        let mut shifted_out = 0;
        let mut carry = false;
        in_eights!(for i in L {
            let square = u128::from(a[i]) * u128::from(a[i]);
            let [even, odd] = [limbs[2 * i], limbs[2 * i + 1]];
            (limbs[2 * i], carry) = add(even << 1 | shifted_out, square as u64, carry);
            (limbs[2 * i + 1], carry) = add(odd << 1 | even >> 63, (square >> 64) as u64, carry);
            shifted_out = odd >> 63;
        });
        self.reduce(product, a);
    }

    /// `reduced = (high·R + low) / R mod n`, below `R`.
    ///
    /// To the low half multiples of `n` are added, each of which clears its lowest limb. What is left
    /// above the cleared limbs stays below `R`, and is at most `n` in the end. The high half is added
    /// only then, so that the loop has one carry to propagate and not two.
    ///
    /// The sum is below `R + n`. It is brought below `R` and not below `n`: no product needs more of its
    /// factors.
    #[inline(always)]
    fn reduce(&self, [low, high]: [[u64; L]; 2], reduced: &mut [u64; L]) {
        let mut sum = [low, [0; L]];
        let limbs = sum.as_flattened_mut();
        in_eights!(for i in L {
            let factor = limbs[i].wrapping_mul(self.n_neg_inverse);
            limbs[i + L] = add_multiple(&mut limbs[i..i + L], factor, &self.n);
        });
        let mut carry = false;
        for (limb, high) in sum[1].iter_mut().zip(high) {
            (*limb, carry) = add(*limb, high, carry);
        }
        // A mask and not a branch, for speed: whether a sum overflows is random, and no branch
        // predictor gets it right.
        let mask = u64::from(carry).wrapping_neg();
        let mut borrow = false;
        for i in 0..L {
            (reduced[i], borrow) = sub(sum[1][i], self.n[i] & mask, borrow);
        }
    }
}

impl<const L: usize> fmt::Debug for Field<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({} bytes)", self.length)
    }
}

/// `a⁻¹ mod 2^64`, for an odd `a`.
///
/// Newton's iteration: if `x` is right in its lowest `k` bits, `x·(2 - a·x)` is in `2k`. An odd number
/// is its own inverse modulo 8, so five steps from 3 bits make 96.
fn inverse(a: u64) -> u64 {
    (0..5).fold(a, |x, _| {
        x.wrapping_mul(2_u64.wrapping_sub(a.wrapping_mul(x)))
    })
}

/// Big-endian bytes of at most `8 L` as limbs.
fn limbs<const L: usize>(bytes: &[u8]) -> [u64; L] {
    let mut padded = [[0; 8]; L];
    padded.as_flattened_mut()[8 * L - bytes.len()..].copy_from_slice(bytes);
    padded.reverse();
    padded.map(u64::from_be_bytes)
}

fn less<const L: usize>(a: &[u64; L], b: &[u64; L]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// `a -= b`, modulo `R`.
fn subtract<const L: usize>(a: &mut [u64; L], b: &[u64; L]) {
    let mut borrow = false;
    for (a, b) in a.iter_mut().zip(b) {
        (*a, borrow) = sub(*a, *b, borrow);
    }
}

/// `sum += factor·x`, for two numbers of the same length. Returns the limb above them.
#[inline(always)]
fn add_multiple(sum: &mut [u64], factor: u64, x: &[u64]) -> u64 {
    let mut carry = 0;
    for (sum, x) in sum.iter_mut().zip(x) {
        let wide = u128::from(factor) * u128::from(*x) + u128::from(*sum) + u128::from(carry);
        (*sum, carry) = (wide as u64, (wide >> 64) as u64);
    }
    carry
}

#[inline(always)]
fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, over_b) = a.overflowing_add(b);
    let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
    (sum, over_b | over_carry)
}

#[inline(always)]
fn sub(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, under_b) = a.overflowing_sub(b);
    let (difference, under_borrow) = difference.overflowing_sub(u64::from(borrow));
    (difference, under_b | under_borrow)
}

fn big_endian(limbs: &[u64]) -> impl Iterator<Item = u8> + '_ {
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::BigUint;

    use super::*;
    use crate::verify::{cases, signature::MAX_LEN};

    /// Odd moduli of every length: of random bytes, and of the extremes at which carries run through
    /// all limbs.
    fn any_modulus() -> impl Strategy<Value = BigUint> {
        let bits = prop_oneof![
            2_usize..=4096,
            prop::sample::select(vec![
                63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096
            ]),
        ];
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), MAX_LEN),
            Just(vec![0xff; MAX_LEN]),
            Just(vec![0; MAX_LEN]),
        ];
        (bits, bytes).prop_map(|(bits, bytes)| {
            let one = BigUint::from(1_u8);
            let highest = &one << (bits - 1);
            (BigUint::from_bytes_be(&bytes) % &highest) | highest | one
        })
    }

    fn any_exponent() -> impl Strategy<Value = u32> {
        let fixed = prop::sample::select(vec![3, 5, 17, 65_537, u32::MAX]);
        prop_oneof![fixed, (1..=u32::MAX / 2).prop_map(|half| 2 * half + 1)]
    }

    /// A number in so many bytes.
    fn padded(number: &BigUint, length: usize) -> Vec<u8> {
        let bytes = number.to_bytes_be();
        let mut padded = vec![0; length.saturating_sub(bytes.len())];
        padded.extend(bytes);
        padded
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn r_squared_and_the_length_are_those_of_big_integers(n in any_modulus()) {
            let modulus = Modulus::new(&n.to_bytes_be(), 3);
            prop_assert_eq!(modulus.bits(), n.bits());
            let (_, r_squared, _) = modulus.parts();
            let r = BigUint::from(1_u8) << (8 * r_squared.len());
            prop_assert_eq!(BigUint::from_bytes_be(&r_squared), &r * &r % &n);
        }

        #[test]
        fn a_power_is_that_of_big_integers(
            n in any_modulus(),
            exponent in any_exponent(),
            base in prop::collection::vec(any::<u8>(), MAX_LEN),
        ) {
            let length = n.bits().div_ceil(8);
            let modulus = Modulus::new(&n.to_bytes_be(), exponent);
            let one = BigUint::from(1_u8);
            let base = BigUint::from_bytes_be(&base) % &n;
            for base in [base, BigUint::from(0_u8), one.clone(), &n - &one] {
                let power = padded(&base.modpow(&BigUint::from(exponent), &n), length);
                prop_assert_eq!(
                    modulus.open(&padded(&base, length), <[u8]>::to_vec),
                    Some(power)
                );
            }
        }

        #[test]
        fn a_number_has_the_length_of_the_modulus_and_is_below_it(
            n in any_modulus(),
            above in any::<u64>(),
        ) {
            let length = n.bits().div_ceil(8);
            let modulus = Modulus::new(&n.to_bytes_be(), 3);
            let opens = |bytes: &[u8]| modulus.open(bytes, |_| ()).is_some();
            prop_assert!(!opens(&padded(&n, length)));
            prop_assert!(!opens(&padded(&(&n + above), length)));
            prop_assert!(!opens(&vec![0xff; length]));
            prop_assert!(opens(&vec![0; length]));
            prop_assert!(!opens(&vec![0; length - 1]));
            prop_assert!(!opens(&vec![0; length + 1]));
        }
    }

    #[test]
    fn two_moduli_are_equal_if_their_numbers_are() {
        let modulus =
            |last, exponent| Modulus::new(&[[0xff; 64].as_slice(), &[last]].concat(), exponent);
        assert_eq!(modulus(1, 3), modulus(1, 3));
        assert_ne!(modulus(1, 3), modulus(3, 3));
        assert_ne!(modulus(1, 3), modulus(1, 5));
    }
}
