//! Order of an event: by a key, none (`unkeyed`), or left to the publisher (`consumed`).

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Data, DeriveInput, Expr, ExprClosure, ExprLit, Lit, Path, Result, spanned::Spanned as _,
};

use crate::argument::{Arguments, refuse};

/// The order of an event.
pub(crate) enum Order {
    /// Published, by the key that the expression makes of `self`.
    Keyed(TokenStream),
    /// Published without a key.
    Unkeyed,
    /// Not published.
    Consumed,
}

impl Order {
    /// Reads `key`, `unkeyed` or `consumed`.
    ///
    /// # Errors
    /// Fails if none or several of them are given, or if the key is neither a field nor a closure.
    pub(crate) fn read(arguments: &Arguments, input: &DeriveInput) -> Result<Self> {
        let names = ["key", "unkeyed", "consumed"];
        let mut given = names.into_iter().filter_map(|name| arguments.get(name));
        let Some(argument) = given.next() else {
            let text = "nothing says how the events are ordered; write `key = …` with the field that orders them, \
                        `unkeyed` if they need no order, or `consumed` if they are only consumed";
            return Err(refuse(input.ident.span(), text));
        };
        if let Some(other) = given.next() {
            let text = format!(
                "`{}` contradicts `{}`; write one of `key`, `unkeyed` and `consumed`",
                other.name, argument.name
            );
            return Err(refuse(other.name.span(), text));
        }
        if argument.name == "key" {
            let value = argument.value("customer")?;
            return key(value, input).map(Self::Keyed);
        }
        argument.without_value()?;
        Ok(if argument.name == "unkeyed" {
            Self::Unkeyed
        } else {
            Self::Consumed
        })
    }

    /// Returns `true` if the event is published, not only consumed.
    pub(crate) fn is_published(&self) -> bool {
        !matches!(self, Self::Consumed)
    }

    /// Returns the method that makes the key; `None` if the event is not published.
    pub(crate) fn method(&self, outbox: &Path) -> Option<TokenStream> {
        let body = match self {
            Self::Keyed(value) => quote!(#outbox::derive::key(#value)),
            Self::Unkeyed => quote!(::core::option::Option::None),
            Self::Consumed => return None,
        };
        Some(quote! {
            fn key(&self) -> ::core::option::Option<::std::string::String> {
                #body
            }
        })
    }
}

/// Returns the expression of the value that is the key, a reference.
fn key(value: &Expr, input: &DeriveInput) -> Result<TokenStream> {
    // Where the key is written, for errors; `self` is the method's, wherever the key is written.
    let place = value.span().resolved_at(Span::call_site());
    match value {
        Expr::Closure(closure) if is_plain(closure) => {
            let (event, body) = (&closure.inputs[0], &closure.body);
            Ok(quote_spanned!(place=> &{ let #event = self; #body }))
        }
        field if is_field(field) => match input.data {
            Data::Struct(_) => Ok(quote_spanned!(place=> &self.#field)),
            _ => Err(refuse(
                value.span(),
                "an enum has no fields; write `key = |event| match event { … }`",
            )),
        },
        _ => Err(refuse(
            value.span(),
            "`key` is no field; write `key = customer` or `key = order.customer`, or a closure: `key = |event| …`",
        )),
    }
}

/// Returns `true` for a closure of the event alone.
fn is_plain(closure: &ExprClosure) -> bool {
    closure.inputs.len() == 1 && closure.asyncness.is_none()
}

/// Returns `true` for `customer`, `order.customer` and `0.customer`.
fn is_field(expr: &Expr) -> bool {
    match expr {
        Expr::Path(path) => path.path.get_ident().is_some_and(|name| name != "self"),
        Expr::Lit(ExprLit { lit, .. }) => {
            matches!(lit, Lit::Int(index) if index.suffix().is_empty())
        }
        Expr::Field(field) => is_field(&field.base),
        _ => false,
    }
}
