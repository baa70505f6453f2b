//! The arguments of `#[event(…)]`, each a name with or without a value.

use std::fmt::Display;

use proc_macro2::Span;
use syn::{
    Attribute, Error, Expr, Ident, Result, Token,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    spanned::Spanned as _,
};

/// Names of all arguments.
const NAMES: [&str; 7] = [
    "topic", "type", "version", "key", "unkeyed", "consumed", "crate",
];

/// Makes the error of a mistake, shown at its place.
pub(crate) fn refuse(place: Span, mistake: impl Display) -> Error {
    Error::new(place, format_args!("cannot derive `Event`: {mistake}"))
}

/// One argument.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    value: Option<Expr>,
}

impl Argument {
    /// Returns the value.
    ///
    /// # Errors
    /// Fails if there is none; `example` is one with which the error teaches.
    pub(crate) fn value(&self, example: &str) -> Result<&Expr> {
        let name = &self.name;
        let missing = || {
            let text = format!("`{name}` has no value; write `{name} = {example}`");
            refuse(name.span(), text)
        };
        self.value.as_ref().ok_or_else(missing)
    }

    /// Checks that there is no value.
    pub(crate) fn without_value(&self) -> Result<()> {
        let name = &self.name;
        match &self.value {
            None => Ok(()),
            Some(value) => Err(refuse(
                value.span(),
                format_args!("`{name}` takes no value; write `{name}` alone"),
            )),
        }
    }
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(Ident::parse_any)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            None => None,
            Some(_) => Some(ungrouped(input.parse()?)),
        };
        Ok(Self { name, value })
    }
}

/// Returns an expression without the invisible group that `macro_rules!` puts around it.
fn ungrouped(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => ungrouped(*group.expr),
        expr => expr,
    }
}

/// All arguments of a type, each at most once.
pub(crate) struct Arguments(Vec<Argument>);

impl Arguments {
    /// Reads the arguments of all attributes `#[event(…)]`.
    ///
    /// # Errors
    /// Fails for an unknown argument, and for one that is given twice.
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut all = Self(Vec::new());
        for attribute in attributes {
            if !attribute.path().is_ident("event") {
                continue;
            }
            let list = attribute.meta.require_list().map_err(|_| {
                let text =
                    "the attribute has no arguments; write `#[event(topic = \"…\", key = …)]`";
                refuse(attribute.span(), text)
            })?;
            let arguments = Punctuated::<Argument, Token![,]>::parse_terminated;
            let arguments = list.parse_args_with(arguments).map_err(|error| {
                let text = format!("{error}; write `#[event(topic = \"…\", key = …)]`");
                refuse(error.span(), text)
            })?;
            for argument in arguments {
                all.add(argument)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, argument: Argument) -> Result<()> {
        let name = &argument.name;
        if !NAMES.iter().any(|known| name == known) {
            let known = NAMES.map(|name| format!("`{name}`")).join(", ");
            let text = format!("`{name}` is no argument of `#[event(…)]`; write one of {known}");
            return Err(refuse(name.span(), text));
        }
        if self.get(&name.to_string()).is_some() {
            let text = format!("`{name}` is given twice; write it once");
            return Err(refuse(name.span(), text));
        }
        self.0.push(argument);
        Ok(())
    }

    /// Returns the argument of a name; `None` if it is not given.
    pub(crate) fn get(&self, name: &str) -> Option<&Argument> {
        self.0.iter().find(|argument| argument.name == name)
    }
}
