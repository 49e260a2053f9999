//! Small images, none like another.

use accel_image::Digest;
use accel_test_support::tar::{dir, file};
use accel_test_support::{ImageBuilder, tar};

/// An image of `layers` layers of 48 KiB that no compression makes smaller, unlike those of any other label.
#[must_use]
pub fn image(label: &str, layers: usize) -> ImageBuilder {
    (0..layers).fold(ImageBuilder::new(), |image, layer| {
        let name = format!("{label} {layer}");
        let noise = noise(&name, 48 << 10);
        image.layer(&tar(&[dir("srv/"), file(format!("srv/{layer}"), noise).mode(0o755), file("srv/last", name)]))
    })
}

fn noise(label: &str, bytes: usize) -> Vec<u8> {
    let digest = Digest::of(label.as_bytes());
    let seed = digest.as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}
