import * as Radix from "@radix-ui/react-tabs";
import type { ReactNode } from "react";

interface Props {
  label: string;
  value: string;
  onChange: (value: string) => void;
  tabs: readonly { value: string; name: string; body: ReactNode }[];
}

/** Several panels in one place; arrow keys change between them. */
export function Tabs({ label, value, onChange, tabs }: Props) {
  return (
    <Radix.Root value={value} onValueChange={onChange}>
      <Radix.List aria-label={label} className="mb-3 flex flex-wrap gap-1 border-b border-line">
        {tabs.map((tab) => (
          <Radix.Trigger
            key={tab.value}
            value={tab.value}
            className="rounded-none px-2 sm:px-3 border-0 border-b-3 border-transparent bg-transparent data-[state=active]:border-accent data-[state=active]:font-semibold"
          >
            {tab.name}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {tabs.map((tab) => (
        <Radix.Content key={tab.value} value={tab.value}>
          {tab.body}
        </Radix.Content>
      ))}
    </Radix.Root>
  );
}
