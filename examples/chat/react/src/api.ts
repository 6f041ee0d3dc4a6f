// What the server is asked, apart from answers: see transport.ts for those.
import type { UIMessage } from "ai";

/** A message; an answer that broke off says how. */
export type Message = UIMessage<{ interrupted?: "stopped" | "shutdown" | "failed" | "lost" }>;

export interface ChatInfo {
  id: string;
  metadata: { title?: string };
}

export interface LoadedChat {
  metadata: ChatInfo["metadata"];
  messages: Message[];
  /** The answer that is being written; it is not among the messages. */
  activeStreamId: string | null;
}

export const NO_CHAT: LoadedChat = { metadata: {}, messages: [], activeStreamId: null };

/** A request that the server refused. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Give this browser a name that no other has. A real page would have you sign in. */
export function signIn(): void {
  if (!/(^|; )user=/.test(document.cookie)) {
    document.cookie = `user=${newId("guest")}; path=/; max-age=31536000; samesite=lax`;
  }
}

/** A new id. (crypto.randomUUID is not there without https.) */
export function newId(kind: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `${kind}-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Make a chat, unless it is there. */
export async function createChat(id: string, title: string): Promise<void> {
  try {
    await request("POST", "/chats", { id, metadata: { title } });
  } catch (error) {
    if (!(error instanceof Refusal && error.status === 409)) throw error;
  }
}

export function listChats(after: string | null): Promise<{ chats: ChatInfo[]; next: string | null }> {
  return request("GET", `/chats?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);
}

/** The chat as it is saved; `null`: there is none. */
export async function loadChat(id: string): Promise<LoadedChat | null> {
  try {
    return await request("GET", `/chats/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error instanceof Refusal && error.status < 500) return null; // it may be somebody else's
    throw error;
  }
}

/** Delete a chat, unless it is gone. */
export async function deleteChat(id: string): Promise<void> {
  try {
    await request("DELETE", `/chats/${encodeURIComponent(id)}`);
  } catch (error) {
    if (!(error instanceof Refusal && error.status === 404)) throw error;
  }
}

/** End an answer for everybody who reads it. Its end then comes as it always does: through the answer itself. */
export async function stopAnswer(id: string, streamId: string | null): Promise<void> {
  await request("POST", `/chat/${encodeURIComponent(id)}/stop`, { activeStreamId: streamId });
}

async function request<T>(method: string, path: string, body?: object): Promise<T> {
  const json = body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(`/api${path}`, { method, ...json });
  if (!response.ok) throw new Refusal(response.status, messageIn(await response.text(), response.status));
  return response.json();
}

/** What the server says of an error; something before it, such as a proxy, may say it in another form. */
export function messageIn(body: string, status: number): string {
  try {
    return JSON.parse(body).error.message;
  } catch {
    return `the server answered ${status}`;
  }
}
