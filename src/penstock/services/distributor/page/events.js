// Server-sent events, read by fetch: an EventSource could not show an API key.

/** Every event of a stream as { event, data }, comments left out. */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) if (!block.startsWith(":")) yield fieldsOf(block);
  }
}

function fieldsOf(block) {
  const fields = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (name in fields) fields[name] = line.slice(colon + 1).trimStart();
  }
  return fields;
}
