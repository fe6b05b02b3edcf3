// How a view tells the page what it should adapt to.
import { createContext, useContext } from "react";
import type { Adaptation } from "./api/client";

export const Adapting = createContext<(to: Adaptation | undefined) => void>(() => undefined);

export const useAdapting = () => useContext(Adapting);
