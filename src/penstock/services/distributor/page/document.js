// The document: what comes from outside goes in as text, and only where it changed.

export const byId = (id) => document.getElementById(id);
export const sheet = document.querySelector(".sheet");
export const clone = (template) => byId(template).content.firstElementChild.cloneNode(true);

export function write(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function fill(root, values) {
  for (const [name, value] of Object.entries(values)) write(root.querySelector(`[data-value="${name}"]`), value);
}

/** Tells a screen reader. */
export const announce = (words) => write(byId("announcer"), words);

/** Shows a state in words and colour, and tells a screen reader when it is a new one. */
export function showState(node, state, whose) {
  if (node.dataset.state && node.dataset.state !== state) announce(`${whose}: ${state}`);
  write(node, state);
  if (node.dataset.state !== state) node.dataset.state = state;
}

/** One child of `parent` for each key, made once: a child that stays keeps its focus and stays open. */
export function arrange(parent, keys, make) {
  const present = new Map([...parent.children].map((node) => [node.key, node]));
  const nodes = keys.map((key, i) => present.get(key) ?? Object.assign(make(i), { key }));
  const kept = new Set(nodes);
  for (const node of present.values()) if (!kept.has(node)) node.remove();
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
  return nodes;
}

/** While `work` goes on its button cannot be pressed again; what went wrong is written into `told`. */
export async function doing(button, told, what, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  write(told, "");
  try {
    return await work();
  } catch (error) {
    write(told, `${what}: ${error.message}`);
    return undefined;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
