import { useChat } from "@ai-sdk/react5";
import { DefaultChatTransport } from "ai5";
import { chatWith, counting } from "./chat.jsx";
import { show } from "./common.jsx";

// This version cannot replay an answer into the part of it that is shown already. So it goes on from there.
show(chatWith(useChat, counting(DefaultChatTransport)));
