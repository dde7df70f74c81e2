//! Lists, written as such or as one comma-separated text for an environment variable.

use std::{fmt, net::SocketAddr};

use serde::{
    Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// Reads addresses with ports.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let expected = "a list of addresses with ports, such as [\"192.0.2.1:9999\"]";
    deserializer.deserialize_any(List { expected, parse: address })
}

/// Reads names of hosts.
pub(crate) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(List { expected: "a list of hosts", parse: |host| Ok(host.to_owned()) })
}

struct List<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<'de, T> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(|text| (self.parse)(text).map_err(E::custom)).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            items.push((self.parse)(&text).map_err(A::Error::custom)?);
        }
        Ok(items)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an IP address with a port, such as \"192.0.2.1:9999\" or \"[2001:db8::1]:9999\"")
    })
}
