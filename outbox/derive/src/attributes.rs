//! Arguments of `#[event(…)]`, parsed and checked.

use syn::{
    DeriveInput, Expr, ExprLit, Lit, LitInt, Path, Result, parse_quote, spanned::Spanned as _,
};

use crate::{
    argument::{Argument, Arguments, refuse},
    order::Order,
};

/// An event as its type describes it.
pub(crate) struct Attributes {
    /// Path of the crate `outbox`.
    pub(crate) outbox: Path,
    /// Topic: a text, or the path of a constant.
    pub(crate) topic: Expr,
    /// Name of the type, as the topic; `None` for the topic.
    pub(crate) type_name: Option<Expr>,
    /// Version; `None` for the default.
    pub(crate) version: Option<LitInt>,
    pub(crate) order: Order,
}

impl Attributes {
    /// Reads the attributes of a type.
    ///
    /// # Errors
    /// Fails with the first mistake, at its place.
    pub(crate) fn read(input: &DeriveInput) -> Result<Self> {
        let arguments = Arguments::read(&input.attrs)?;
        let topic = arguments.get("topic").ok_or_else(|| {
            let text = "the event has no topic; write `#[event(topic = \"orders.placed\", …)]`";
            refuse(input.ident.span(), text)
        })?;
        Ok(Self {
            topic: text(topic, "orders.placed")?,
            type_name: arguments
                .get("type")
                .map(|argument| text(argument, "orders.Placed"))
                .transpose()?,
            version: arguments.get("version").map(version).transpose()?,
            order: Order::read(&arguments, input)?,
            outbox: match arguments.get("crate") {
                None => parse_quote!(::outbox),
                Some(argument) => path(argument)?,
            },
        })
    }
}

/// Reads a text or the path of a constant. Constants of `outbox` check the text itself.
fn text(argument: &Argument, example: &str) -> Result<Expr> {
    let value = argument.value(&format!("\"{example}\""))?;
    let is_text = match value {
        Expr::Lit(ExprLit { lit, .. }) => matches!(lit, Lit::Str(_)),
        Expr::Path(_) => true,
        _ => false,
    };
    let name = &argument.name;
    if is_text {
        return Ok(value.clone());
    }
    let text =
        format!("`{name}` is no text; write `{name} = \"{example}\"`, or the path of a constant");
    Err(refuse(value.span(), text))
}

fn version(argument: &Argument) -> Result<LitInt> {
    let value = argument.value("2")?;
    let version = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse().unwrap_or(0),
        _ => 0_u32,
    };
    match version {
        0 => Err(refuse(
            value.span(),
            "`version` is no whole number from 1 to 4294967295; write `version = 2`",
        )),
        version => Ok(LitInt::new(&format!("{version}u32"), value.span())),
    }
}

fn path(argument: &Argument) -> Result<Path> {
    let example = "\"my_crate::outbox\"";
    let value = argument.value(example)?;
    let path = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => text.parse_with(Path::parse_mod_style).ok(),
        _ => None,
    };
    path.ok_or_else(|| {
        let text = format!("`crate` is no path in quotes; write `crate = {example}`");
        refuse(value.span(), text)
    })
}
