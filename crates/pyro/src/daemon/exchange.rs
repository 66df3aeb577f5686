//! One streaming operation on the server's side: the client's frames become a request, standard input and
//! cancellation; what the handler tells becomes frames.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use pyro_api::{
    ErrorBody, ErrorCode, Operation,
    body::{ChannelBody, FrameReader, FrameSender},
    frame::{Frame, Kind, STDIN_WINDOW_BYTES},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::InWork,
    attended::outcome,
    handler::{StreamOutput, Streams},
};

/// How long a client that has its answer may keep the connection.
const PATIENCE_FOR_HANG_UP: Duration = Duration::from_secs(2);

/// Reads the first frame of a streaming request.
pub(crate) async fn read_request<R: DeserializeOwned>(frames: &mut FrameReader) -> Result<R, ErrorBody> {
    let refuse = |text: String| ErrorBody::new(ErrorCode::InvalidRequest, text);
    let first = frames.next().await.map_err(|error| refuse(error.to_string()))?;
    match first {
        Some(Frame { kind: Kind::Request, payload }) => serde_json::from_slice(&payload)
            .map_err(|error| refuse(format!("request that cannot be understood: {error}"))),
        _ => Err(refuse("the first frame is not a request".to_owned())),
    }
}

/// Lets the work begin and returns the body of its answer.
pub(crate) fn begin<T, F>(
    operation: &'static Operation,
    frames: FrameReader,
    cancel: CancellationToken,
    in_work: Arc<InWork>,
    work: impl FnOnce(Streams) -> F,
) -> ChannelBody
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, ErrorBody>> + Send + 'static,
{
    let (output, body) = ChannelBody::new();
    let (stdin, stdin_receiver) = mpsc::channel(1);
    let streams =
        Streams { output: StreamOutput(output.clone()), stdin: stdin_receiver, cancel: cancel.clone() };
    let work = work(streams);
    tokio::spawn(async move {
        let _in_work = in_work;
        let mut listening = tokio::spawn(listen(frames, stdin, output.clone(), cancel.clone()));
        // A task of its own: a panic in it is the failure of this request alone.
        let working = tokio::spawn(work);
        let watching = tokio::spawn(cancel_when_gone(output.clone(), cancel));
        let last = last_frame(outcome(operation, working.await));
        // If the client has gone there is nobody to tell.
        let _sent = output.send(last).await;
        // The client hangs up first: a connection closed here would break under a frame that is on its way,
        // the end of standard input mostly, and take the answer with it.
        if timeout(PATIENCE_FOR_HANG_UP, &mut listening).await.is_err() {
            listening.abort();
        }
        watching.abort();
    });
    body
}

async fn cancel_when_gone(output: FrameSender, cancel: CancellationToken) {
    output.peer_gone().await;
    cancel.cancel();
}

fn last_frame(result: Result<impl Serialize, ErrorBody>) -> Frame {
    let frame = match result {
        Ok(result) => Frame::json(Kind::Result, &result),
        Err(error) => Frame::json(Kind::Error, &error),
    };
    frame.unwrap_or_else(|error| {
        let body = ErrorBody::new(ErrorCode::Internal, format!("the answer cannot be sent: {error}"));
        Frame { kind: Kind::Error, payload: serde_json::to_vec(&body).unwrap_or_default().into() }
    })
}

/// Follows the client's frames to their end. Never waits for the guest, so that a cancellation behind much
/// standard input is seen at once; the window bounds what is held meanwhile.
async fn listen(
    mut frames: FrameReader,
    stdin: mpsc::Sender<Bytes>,
    output: FrameSender,
    cancel: CancellationToken,
) {
    let (held, waiting) = mpsc::unbounded_channel();
    let window = Arc::new(Semaphore::new(STDIN_WINDOW_BYTES));
    let passing = tokio::spawn(pass_on(waiting, stdin, output, Arc::clone(&window)));
    let mut held = Some(held);
    loop {
        match frames.next().await {
            Ok(Some(Frame { kind: Kind::Stdin, payload })) => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                match (window.try_acquire_many(length), &held) {
                    (Ok(room), Some(held)) => {
                        room.forget();
                        // Nobody wants input any more when the command has ended.
                        let _sent = held.send(payload);
                    }
                    _ => break cancel.cancel(),
                }
            }
            Ok(Some(Frame { kind: Kind::StdinEof, .. })) => held = None,
            // The end of the body is only the end of input: the client may still be reading.
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => break cancel.cancel(),
        }
    }
    drop(held);
    let _passed = passing.await;
}

/// Passes held input on to the guest as fast as it takes it, and gives the client credit for it.
async fn pass_on(
    mut waiting: mpsc::UnboundedReceiver<Bytes>,
    stdin: mpsc::Sender<Bytes>,
    output: FrameSender,
    window: Arc<Semaphore>,
) {
    while let Some(bytes) = waiting.recv().await {
        let length = bytes.len();
        if stdin.send(bytes).await.is_err() {
            return;
        }
        window.add_permits(length);
        let credit = Frame::stdin_credit(u32::try_from(length).unwrap_or(u32::MAX));
        if output.send(credit).await.is_err() {
            return;
        }
    }
}
