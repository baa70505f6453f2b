//! Names of fences, which tell one database from another.

/// Beginnings of the names, as they are and as in regular expressions, and what separates their parts.
const FORMS: [(&str, &str); 2] = [("postroom.fence.", "."), (r"postroom\.fence\.", r"\.")];

/// A word in which the identity of this run's database is replaced.
pub(crate) fn without_identity(word: &str) -> String {
    let mut shown = word.to_owned();
    for (prefix, separator) in FORMS {
        let Some((before, rest)) = word.split_once(prefix) else {
            continue;
        };
        let parts: Vec<&str> = rest.splitn(3, separator).collect();
        let [cluster, database, lane] = parts[..] else {
            continue;
        };
        assert!(cluster.bytes().all(|b| b.is_ascii_hexdigit()), "{word}");
        assert!(database.bytes().all(|b| b.is_ascii_digit()), "{word}");
        shown = format!("{before}{prefix}<cluster>{separator}<database>{separator}{lane}");
    }
    shown
}

#[test]
fn both_forms_lose_their_identity() {
    let named = without_identity("\"postroom.fence.6b0d.108.0\"");
    assert_eq!(named, "\"postroom.fence.<cluster>.<database>.0\"");
    let pattern = without_identity(r"^postroom\.fence\.6b0d\.108\.0$");
    assert_eq!(pattern, r"^postroom\.fence\.<cluster>\.<database>\.0$");
    assert_eq!(without_identity("postroom.fence.*"), "postroom.fence.*");
}
