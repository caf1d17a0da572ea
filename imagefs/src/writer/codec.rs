//! Compression parameters and the compressors of the worker threads.

use zstd::zstd_safe::{CCtx, CParameter, DictAttachPref, Strategy, compress_bound};

/// Level when the user says nothing: on WordPress a third of the CPU time of `mksquashfs -Xcompression-level 15`.
pub const LEVEL_DEFAULT: i32 = 15;
/// Highest level: higher ones need windows that HTTP clients do not grant.
pub const LEVEL_MAX: i32 = 19;
/// Lowest level.
pub const LEVEL_MIN: i32 = 1;

/// What a block is compressed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The dictionary: one large block, read whole, worth more effort.
    Dictionary,
    /// A block that may refer to the dictionary.
    Block,
    /// A whole file in one frame that HTTP clients may get: window of at most 8 MiB, no dictionary.
    Frame,
}

/// A compressor for one thread; loading a dictionary is paid once.
pub(super) struct Compressor {
    ctx: CCtx<'static>,
}

impl Compressor {
    /// Sets the parameters of a level for one use; `dictionary` is for [`Use::Block`].
    pub(super) fn new(level: i32, what: Use, dictionary: Option<&[u8]>) -> Compressor {
        let mut ctx = CCtx::create();
        let mut set = |parameter| {
            ctx.set_parameter(parameter)
                .expect("all values are in range for this version of zstd");
        };
        set(CParameter::CompressionLevel(level));
        set(CParameter::ContentSizeFlag(true));
        set(CParameter::ChecksumFlag(false));
        set(CParameter::DictIdFlag(false));
        set(CParameter::WindowLog(24));
        let (strategy, search_log, target) = match (what, level) {
            (Use::Dictionary | Use::Frame, 1..=9) | (Use::Block, 1..=5) => {
                (Strategy::ZSTD_lazy2, 4, 16)
            }
            (Use::Frame, 10..=15) | (Use::Block, 6..=11) => (Strategy::ZSTD_lazy2, 5, 32),
            // The lazy strategies search with SIMD-compared rows: far more ratio for the time than binary trees
            // with a dictionary attached.
            (Use::Block, 12..=15) => (Strategy::ZSTD_lazy2, 7, 64),
            (Use::Dictionary, 10..=15) | (Use::Block | Use::Frame, 16..=17) => {
                (Strategy::ZSTD_btopt, 4, 48)
            }
            (_, 16..=18) => (Strategy::ZSTD_btultra, 4, 48),
            _ => (Strategy::ZSTD_btultra2, 7, 256),
        };
        set(CParameter::Strategy(strategy));
        set(CParameter::SearchLog(search_log));
        set(CParameter::TargetLength(target));
        set(CParameter::MinMatch(
            if matches!(strategy, Strategy::ZSTD_btultra2) {
                3
            } else {
                5
            },
        ));
        set(CParameter::HashLog(22));
        set(CParameter::ChainLog(22));
        if let Some(dictionary) = dictionary {
            set(CParameter::ForceAttachDict(DictAttachPref::ForceAttach));
            ctx.load_dictionary(dictionary)
                .expect("any bytes can be a dictionary");
        }
        Compressor { ctx }
    }

    /// Compresses into one frame with its content size.
    pub(super) fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(compress_bound(plain.len()));
        self.ctx
            .compress2(&mut out, plain)
            .expect("the buffer holds every result and memory is there");
        out.shrink_to_fit();
        out
    }
}

/// Whether bytes look already compressed: a fast pass over samples saves less than one part in twenty.
pub(super) fn incompressible(samples: &[&[u8]]) -> bool {
    let mut ctx = CCtx::create();
    let (mut plain, mut packed) = (0, 0);
    for sample in samples {
        let mut out = Vec::with_capacity(compress_bound(sample.len()));
        packed += ctx.compress(&mut out, sample, 1).unwrap_or(sample.len());
        plain += sample.len();
    }
    packed * 20 > plain * 19
}
