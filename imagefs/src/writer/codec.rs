//! Compression parameters and the compressors of the worker threads.

use zstd::zstd_safe::{CCtx, CParameter, Strategy, compress_bound};

use crate::format::WINDOW_LOG_MAX;

/// Level when the user says nothing: the least at which an image of WordPress is no larger than that of
/// `mksquashfs -comp zstd -Xcompression-level 15`.
pub const LEVEL_DEFAULT: i32 = 15;
/// Highest level: higher ones need windows that HTTP clients do not grant.
pub const LEVEL_MAX: i32 = 19;
/// Lowest level.
pub const LEVEL_MIN: i32 = 1;

/// How a compressor looks for repetitions and chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parser {
    strategy: Strategy,
    search_log: u32,
    target_length: u32,
    min_match: u32,
    /// Logarithm of the number of places that are remembered, by hash and in chains or trees.
    hash_log: u32,
    chain_log: u32,
}

/// Lazy parsing searches with SIMD-compared rows: nearly all of the ratio for a fifth of the time.
const fn lazy(search_log: u32) -> Parser {
    Parser {
        strategy: Strategy::ZSTD_lazy2,
        search_log,
        target_length: 64,
        min_match: 5,
        hash_log: 22,
        chain_log: 22,
    }
}

/// Optimal parsing with binary trees: 6 % smaller.
const OPTIMAL: Parser = Parser {
    strategy: Strategy::ZSTD_btopt,
    search_log: 4,
    target_length: 48,
    min_match: 5,
    hash_log: 22,
    chain_log: 22,
};
/// The same with trees that are nearer to the processor: a fifth less time for a third of a percent.
const OPTIMAL_NEAR: Parser = Parser {
    hash_log: 19,
    chain_log: 20,
    ..OPTIMAL
};
const ULTRA: Parser = Parser {
    strategy: Strategy::ZSTD_btultra,
    ..OPTIMAL
};
const ULTRA2: Parser = Parser {
    strategy: Strategy::ZSTD_btultra2,
    search_log: 7,
    target_length: 256,
    min_match: 3,
    ..OPTIMAL
};

impl Parser {
    /// The parser of the block with this number. Between the lazy levels and the optimal ones there is no parser in
    /// between: there, a part of the blocks is parsed optimally, since what that gains and costs is the same for all.
    pub(super) fn of(level: i32, block: usize) -> Parser {
        let optimal_of_eight = match level {
            ..=5 => return lazy(4),
            6..=11 => return lazy(5),
            12 => 0,
            13 => 3,
            14 => 5,
            15 => 7,
            16 => return OPTIMAL_NEAR,
            17 => return OPTIMAL,
            18 => return ULTRA,
            _ => return ULTRA2,
        };
        // Three is coprime to eight: the optimal ones are spread evenly, and so is the work among threads.
        if block * 3 % 8 < optimal_of_eight {
            OPTIMAL_NEAR
        } else {
            lazy(6)
        }
    }
}

/// The compressors of one thread, made when they are first needed.
#[derive(Default)]
pub(super) struct Compressors {
    made: Vec<(Parser, CCtx<'static>)>,
}

impl Compressors {
    /// Compresses into one frame with its content size.
    pub(super) fn compress(&mut self, parser: Parser, plain: &[u8]) -> Vec<u8> {
        let at = self.made.iter().position(|(made, _)| *made == parser);
        let at = at.unwrap_or_else(|| {
            self.made.push((parser, context(parser)));
            self.made.len() - 1
        });
        let mut out = Vec::with_capacity(compress_bound(plain.len()));
        self.made[at]
            .1
            .compress2(&mut out, plain)
            .expect("the buffer holds every result and memory is there");
        out.shrink_to_fit();
        out
    }
}

fn context(parser: Parser) -> CCtx<'static> {
    let mut ctx = CCtx::create();
    let mut set = |parameter| {
        ctx.set_parameter(parameter)
            .expect("all values are in range for this version of zstd");
    };
    // The parameters below replace all that a level stands for.
    set(CParameter::CompressionLevel(LEVEL_DEFAULT));
    set(CParameter::ContentSizeFlag(true));
    set(CParameter::ChecksumFlag(false));
    set(CParameter::WindowLog(WINDOW_LOG_MAX));
    set(CParameter::Strategy(parser.strategy));
    set(CParameter::SearchLog(parser.search_log));
    set(CParameter::TargetLength(parser.target_length));
    set(CParameter::MinMatch(parser.min_match));
    // zstd makes them smaller where the plain bytes are fewer.
    set(CParameter::HashLog(parser.hash_log));
    set(CParameter::ChainLog(parser.chain_log));
    ctx
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
