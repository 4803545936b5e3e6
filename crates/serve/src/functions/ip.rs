//! Internet addresses: whether one is in a network, and addresses as numbers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::common::Result;

use super::call::{Call, Memo};
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::time::refuse;

use Argument::{Any, Text};

/// The functions of addresses.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("ipv4_match", &[Any, Text], Returns::Boolean, match_v4),
    Definition::new("ipv6_match", &[Text, Text], Returns::Boolean, match_v6),
    Definition::new("ipv4_parse", &[Any], Returns::Integer, parse_v4),
    Definition::new("ipv4_stringify", &[Any], Returns::Text, stringify_v4),
];

/// The addresses of an argument that is text or numbers.
fn addresses(call: &Call<'_>) -> Result<Vec<Option<u32>>> {
    let array: &ArrayRef = call.any(0)?;
    if array.data_type().is_string() || array.data_type().is_null() {
        let texts = cast::texts(array, call.zone)?;
        return Ok(texts.iter().map(|text| text?.parse::<Ipv4Addr>().ok().map(u32::from)).collect());
    }
    // Druid takes an address that is no whole number for none.
    if array.data_type().is_floating() {
        return Ok(vec![None; array.len()]);
    }
    let numbers = cast::integers(array, call.zone)?;
    Ok(numbers.iter().map(|number| u32::try_from(number?).ok()).collect())
}

fn match_v4(call: &Call<'_>) -> Result<ArrayRef> {
    let addresses = addresses(call)?;
    let mut networks: Memo<Option<(u32, u32)>> = Memo::default();
    let mut matched = Vec::with_capacity(call.rows);
    for (row, address) in addresses.iter().enumerate() {
        let network = match call.text_at(1, row) {
            Some(text) => *networks.get(text, |text| Ok::<_, datafusion::common::DataFusionError>(network_v4(text)))?,
            None => None,
        };
        matched.push(match network {
            Some((network, mask)) => Some(address.is_some_and(|address| address & mask == network & mask)),
            None if call.is_constant(1) => {
                return Err(refuse(
                    "Function[ipv4_match] subnet arg has an invalid format; write it as '192.168.0.0/16'".to_owned(),
                ));
            }
            None => None,
        });
    }
    Ok(Arc::new(arrow::array::BooleanArray::from(matched)))
}

fn network_v4(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/')?;
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some((address.parse::<Ipv4Addr>().ok()?.into(), mask))
}

fn match_v6(call: &Call<'_>) -> Result<ArrayRef> {
    let mut networks: Memo<Option<(u128, u128)>> = Memo::default();
    let mut matched = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let network = match call.text_at(1, row) {
            Some(text) => *networks.get(text, |text| Ok::<_, datafusion::common::DataFusionError>(network_v6(text)))?,
            None => None,
        };
        let address = call.text_at(0, row).and_then(|text| text.parse::<Ipv6Addr>().ok()).map(u128::from);
        matched.push(match network {
            Some((network, mask)) => Some(address.is_some_and(|address| address & mask == network & mask)),
            None if call.is_constant(1) => {
                return Err(refuse(
                    "Function[ipv6_match] failed to parse address; write the network as '2001:db8::/32'".to_owned(),
                ));
            }
            None => None,
        });
    }
    Ok(Arc::new(arrow::array::BooleanArray::from(matched)))
}

fn network_v6(text: &str) -> Option<(u128, u128)> {
    let (address, length) = text.split_once('/').unwrap_or((text, "128"));
    let length = length.parse::<u32>().ok().filter(|length| *length <= 128)?;
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    Some((address.parse::<Ipv6Addr>().ok()?.into(), mask))
}

fn parse_v4(call: &Call<'_>) -> Result<ArrayRef> {
    let addresses = addresses(call)?;
    call.integers(|row| addresses.get(row).copied().flatten().map(i64::from))
}

fn stringify_v4(call: &Call<'_>) -> Result<ArrayRef> {
    let addresses = addresses(call)?;
    call.texts(|row| addresses.get(row).copied().flatten().map(|address| Ipv4Addr::from(address).to_string()))
}
