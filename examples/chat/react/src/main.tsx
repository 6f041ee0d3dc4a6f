import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { signIn } from "./api";
import { App } from "./App";
import "./style.css";

signIn();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
