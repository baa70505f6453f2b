//! The shape of a JSON value: its names and types, without its values.

use serde_json::Value;

/// Returns one line for each place where two shapes differ, with its JSON pointer (RFC 6901).
///
/// `null` has the shape of any value, and an empty array that of any array: they are optional values that are missing.
pub(super) fn differences(kept: &Value, now: &Value) -> Vec<String> {
    let mut all = Vec::new();
    differ("", kept, now, &mut all);
    all
}

fn differ(at: &str, kept: &Value, now: &Value, all: &mut Vec<String>) {
    match (kept, now) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(kept), Value::Object(now)) => {
            for (name, value) in kept {
                let at = format!("{at}/{name}");
                match now.get(name) {
                    Some(now) => differ(&at, value, now, all),
                    None => all.push(format!("{at} is gone")),
                }
            }
            let added = now.keys().filter(|name| !kept.contains_key(*name));
            all.extend(added.map(|name| format!("{at}/{name} is new")));
        }
        (Value::Array(kept), Value::Array(now)) => {
            // Items beyond the shorter array are compared with the other array's last item.
            for index in 0..kept.len().max(now.len()) {
                let item = |items: &[Value]| items.get(index).or(items.last()).cloned();
                if let (Some(kept), Some(now)) = (item(kept), item(now)) {
                    differ(&format!("{at}/{index}"), &kept, &now, all);
                }
            }
        }
        _ if type_of(kept) == type_of(now) => {}
        _ => {
            let (kept, now) = (type_of(kept), type_of(now));
            all.push(format!("{at} was {kept} and is {now}"));
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn values_and_missing_options_are_no_differences() {
        let kept = json!({ "order": 7, "coupon": null, "lines": [], "at": "monday" });
        let now = json!({ "order": 8, "coupon": "x", "lines": [{ "n": 1 }], "at": "friday" });
        assert!(differences(&kept, &now).is_empty());
    }

    #[test]
    fn names_and_types_that_differ_are_located() {
        let kept = json!({ "order": 7, "price": 1.5, "lines": [{ "n": 1 }] });
        let now = json!({ "order": "7", "cents": 150, "lines": [{ "n": 1 }, { "n": true }] });
        assert_eq!(
            differences(&kept, &now),
            [
                "/lines/1/n was an integer and is a boolean",
                "/order was an integer and is a string",
                "/price is gone",
                "/cents is new",
            ]
        );
    }
}
