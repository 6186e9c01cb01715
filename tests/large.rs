//! Large messages, written and read in place, up to the largest lane and alignment there are.

use std::time::Duration;
use syncline::{Bus, Error, describe};

const LONG: Duration = Duration::from_secs(60);

/// A page that has to lie on a page.
#[derive(Clone, Copy, bytemuck::Zeroable)]
#[repr(C, align(4096))]
struct Page {
    words: [u64; 512],
}

// SAFETY: plain data without padding: as large as it is aligned.
unsafe impl bytemuck::Pod for Page {}

describe!(Page as "test.page" { words: [u64; 512] });

/// Would break: a message that is copied on its way, or lies where its type can not; a limit that is not said.
#[test]
fn pages_are_written_and_read_in_place() {
    let bus = Bus::embedded().unwrap();
    for lossy in [false, true] {
        let mut writer = bus.zone("z").writer("w").unwrap();
        let channel = format!("pages {lossy}");
        let builder = writer.channel(&channel).capacity(16 << 20);
        let lane = if lossy { builder.lossy() } else { builder.reliable() }.open::<[Page]>().unwrap();
        let most = writer.max_len(lane).unwrap() as usize / size_of::<Page>();
        assert!(most >= if lossy { 256 } else { 3500 }, "{most} pages");
        let mut reader = bus.zone("z").reader("r").channel::<[Page]>(&channel).open().unwrap();
        for round in 0..20usize {
            let count = 1 + (round * 997) % most;
            let mut loan = writer.loan_slice(lane, count).unwrap();
            for (index, page) in loan.items_mut().iter_mut().enumerate() {
                page.words = [(round * 4096 + index) as u64; 512];
            }
            loan.publish().unwrap();
            let message = reader.recv(LONG).unwrap();
            // SAFETY: its writer is this test's, which does not overwrite what is held.
            let bytes = unsafe { message.bytes_in_place() };
            assert_eq!((bytes.as_ptr() as usize % 4096, bytes.len()), (0, count * 4096));
            let pages: &[Page] = bytemuck::cast_slice(bytes);
            for (index, page) in pages.iter().enumerate() {
                assert!(page.words.iter().all(|&word| word == (round * 4096 + index) as u64));
            }
        }
        let error = writer.loan_slice(lane, most + 1).map(drop).unwrap_err();
        let limit = writer.max_len(lane).unwrap();
        assert!(matches!(error, Error::TooLarge { len, limit: said } if said == limit && len > limit), "{error}");
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
}

/// Would break: a lane of a gigabyte that can not be had, or used to its end.
#[test]
fn a_gigabyte_is_a_lane() {
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lane = writer.channel("a").capacity(1 << 30).open::<[u64]>().unwrap();
    let most = writer.max_len(lane).unwrap() as usize / 8;
    assert!(most >= 119 << 20, "{most} words");
    let mut reader = bus.zone("z").reader("r").channel::<[u64]>("a").open().unwrap();
    for round in 0..2u64 {
        let mut loan = writer.loan_slice(lane, most).unwrap();
        let words = loan.items_mut();
        // One in each page.
        words.iter_mut().step_by(512).enumerate().for_each(|(index, word)| *word = round << 32 | index as u64);
        let wrote_at = words.len();
        loan.publish().unwrap();
        let message = reader.recv(LONG).unwrap();
        assert_eq!(message.len(), wrote_at * 8);
        // SAFETY: its writer is this test's, and waits for its readers.
        let words: &[u64] = bytemuck::cast_slice(unsafe { message.bytes_in_place() });
        assert!(words.iter().step_by(512).enumerate().all(|(index, &word)| word == round << 32 | index as u64));
    }
    let error = writer.channel("b").capacity((1 << 30) + 1).open::<[u64]>().unwrap_err();
    assert_eq!(error.code(), syncline::Code::TooLarge);
    assert!(error.to_string().contains("1073741824"), "{error}");
}
