//! Faults that tests ask for by `PYRO_FAULT`.

use pyro_api::{ErrorBody, ErrorCode};
use pyro_environments::EnvironmentsConfig;
use pyro_workspace::fault::{self, Fault};

/// Every place where a test can make this program fail.
pub(crate) fn fault_points() -> Vec<&'static str> {
    fault::names().chain(EnvironmentsConfig::FAULT_POINTS.iter().copied()).collect()
}

/// Has these faults happen; an ordinary daemon has none.
pub(super) fn arm(faults: &[(String, String)]) -> Result<(), ErrorBody> {
    let refuse = |text: String| ErrorBody::new(ErrorCode::InvalidRequest, text);
    let known = fault_points();
    let fault = |(point, fault): &(String, String)| {
        if !known.contains(&point.as_str()) {
            return Err(refuse(format!("PYRO_FAULT names no fault point: {point}")));
        }
        match fault.as_str() {
            "kill" => Ok((point.clone(), Fault::Kill)),
            "stop" => Ok((point.clone(), Fault::Stop)),
            "disk-full" => Ok((point.clone(), Fault::DiskFull)),
            other => Err(refuse(format!("PYRO_FAULT names no fault: {other}"))),
        }
    };
    let faults = faults.iter().map(fault).collect::<Result<Vec<_>, _>>()?;
    if !faults.is_empty() {
        fault::arm(faults);
    }
    Ok(())
}
