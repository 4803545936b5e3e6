//! Chance without state: a number that depends on what it is about and on nothing else.
//!
//! Pure. Invariant: the same seed and the same question give the same answer, in any order and in any process, so that
//! a history sent twice is the same history.

/// What a draw is about, so that two draws about the same moment are independent.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum About {
    /// A wearer's constant traits.
    Trait = 1,
    /// Whether the device is worn.
    Worn,
    /// What the wearer does.
    Activity,
    /// Heart rate around its expectation.
    HeartRate,
    /// Oxygen saturation around its expectation.
    Oxygen,
    /// Skin temperature around its expectation.
    SkinTemperature,
    /// Steps around their expectation.
    Steps,
    /// Which wearer uses the app.
    AppUser,
    /// What that wearer does there.
    AppEvent,
    /// Whether an event is late, doubled or malformed.
    Mischief,
    /// How late or malformed in which way.
    MischiefKind,
}

/// A seed with the questions that can be put to it.
#[derive(Clone, Copy, Debug)]
pub struct Noise(pub u64);

impl Noise {
    /// 64 even bits.
    #[must_use]
    pub fn bits(self, about: About, who: u64, when: u64) -> u64 {
        mix(mix(mix(self.0 ^ (about as u64) << 56) ^ who) ^ when)
    }

    /// Even between 0 (included) and 1 (not included).
    #[must_use]
    pub fn share(self, about: About, who: u64, when: u64) -> f64 {
        unit(self.bits(about, who, when))
    }

    /// Around 0, mostly within ±1 and never beyond ±2: the sum of four even draws.
    #[must_use]
    pub fn bell(self, about: About, who: u64, when: u64) -> f64 {
        let mut bits = self.bits(about, who, when);
        let mut sum = -2.0;
        for _ in 0..4 {
            sum += unit(bits);
            bits = mix(bits);
        }
        sum
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
