//! Peers as a list of addresses, or as one comma-separated text for an environment variable.

use std::{fmt, net::SocketAddr};

use serde::{
    Deserializer,
    de::{Error, SeqAccess, Visitor},
};

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    deserializer.deserialize_any(Addresses)
}

struct Addresses;

impl<'de> Visitor<'de> for Addresses {
    type Value = Vec<SocketAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses with ports, such as [\"192.0.2.1:9999\"]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(address).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut addresses = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            addresses.push(address(&text)?);
        }
        Ok(addresses)
    }
}

fn address<E: Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse().map_err(|_| {
        E::custom(format_args!(
            "{text:?} is not an IP address with a port, such as \"192.0.2.1:9999\" or \"[2001:db8::1]:9999\""
        ))
    })
}
