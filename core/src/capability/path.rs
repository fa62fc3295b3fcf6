//! Paths that every reader understands alike. SPEC 4.6.2.
//!
//! Owns: which texts are a path, its form with a slash at the end, and the directories above it.
//! Does not own: what a path is compared with (`under`, `url`).

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::base::limits;

/// Returns the path if it is safe and absolute in exactly one reading (SPEC 4.6.2): a plain path in
/// Unicode NFKC, so that no name has two spellings, and without a dot at the end of a segment,
/// which some file systems drop. `None` otherwise.
pub fn safe_path(text: &str) -> Option<&str> {
    let path = plain_path(text)?;
    let is_whole = |segment: &str| !segment.ends_with('.');
    let is_normal = path.is_ascii() || ComposingNormalizerBorrowed::new_nfkc().is_normalized(path);
    (is_normal && path.split('/').all(is_whole)).then_some(path)
}

/// Returns the path if every reader resolves it alike; `None` otherwise. It has no empty, `.` or
/// `..` segment, also none before a `;`, because some servers drop the `;` and what follows; no
/// trailing slash, no NUL or control character, no `%`, no `\`, and only ASCII or alphanumeric
/// Unicode, so that no character looks like a slash or dot.
pub(crate) fn plain_path(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let fine = |c: char| {
        (c.is_ascii_graphic() && !matches!(c, '%' | '\\')) || c == ' ' || c.is_alphanumeric()
    };
    if text.len() > limits::PATH_BYTES_MAX || rest.split('/').count() > limits::PATH_SEGMENTS_MAX {
        return None;
    }
    let segment = |s: &str| {
        let name = s.split(';').next().unwrap_or_default().trim_end();
        !matches!(name, "" | "." | "..") && s.chars().all(fine) && s.trim() == s
    };
    (rest.is_empty() || rest.split('/').all(segment)).then_some(text)
}

/// Returns a safe path and each directory above it, up to the root.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let parents = path
        .char_indices()
        .filter(|(_, c)| *c == '/')
        .filter_map(|(at, _)| if at == 0 { path.get(..1) } else { path.get(..at) });
    parents.chain((path != "/").then_some(path))
}

/// Returns the path with a slash at the end. `/` stays as it is.
pub(crate) fn slashed(path: &str) -> Cow<'_, str> {
    if path == "/" { Cow::Borrowed(path) } else { Cow::Owned(format!("{path}/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_paths_have_a_path() {
        for good in
            ["/", "/data", "/data/q3 report.txt", "/données/ü", "/a;b", "/.git/x", "/..a", "/한"]
        {
            assert_eq!(safe_path(good), Some(good));
        }
        let bad = [
            "",
            "data",
            "/data/",
            "//data",
            "/data/../etc",
            "/data/./x",
            "/data/%2e%2e",
            "/data\\x",
            "/a\0b",
            "/a\nb",
            "/data/\u{2024}\u{2024}/x",
            "/data\u{2215}x",
            "/data/ x",
            "/data/.\u{200b}./x",
            "/data/..;/etc",
            "/data/..;x=1/etc",
            "/data/.;/x",
            "/data/;x/etc",
            "/data/.. ;/etc",
            "/data/secret.",
            "/data/secret./x",
            "/data/...",
            // 한, decomposed, and signs that stand for others: ſ, K, a wide s, a ligature.
            "/\u{1112}\u{1161}\u{11ab}",
            "/\u{17f}ecret",
            "/\u{212a}",
            "/\u{ff53}ecret",
            "/\u{fb01}le",
        ];
        for bad in bad {
            assert_eq!(safe_path(bad), None, "{bad:?}");
        }
        // In a URL a dot at the end is a part of the name, everywhere.
        assert_eq!(plain_path("/wiki/Acme_Inc."), Some("/wiki/Acme_Inc."));
    }

    #[test]
    fn a_path_has_its_bounds_and_each_alone() {
        let segments = |count: usize| "/a".repeat(count);
        assert!(plain_path(&segments(limits::PATH_SEGMENTS_MAX)).is_some());
        assert!(plain_path(&segments(limits::PATH_SEGMENTS_MAX + 1)).is_none());
        let bytes = |count: usize| format!("/{}", "a".repeat(count - 1));
        assert!(plain_path(&bytes(limits::PATH_BYTES_MAX)).is_some());
        assert!(plain_path(&bytes(limits::PATH_BYTES_MAX + 1)).is_none());
    }
}
