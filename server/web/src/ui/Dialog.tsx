import { type ReactNode, useEffect, useId, useRef } from "react";

interface Props {
  title: string;
  /** What happens and cannot be undone, or what is asked. */
  about: string;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A question over the page: focus stays in it, Escape closes it. The browser's own, as Radix's writes a style
 * element, which the content security policy forbids. */
export function Dialog({ title, about, open, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={onClose}
      className="m-auto w-[min(92vw,32rem)] rounded-xl border border-line bg-background p-4 text-text backdrop:bg-[#00000080]"
    >
      <h2 id={id}>{title}</h2>
      <p>{about}</p>
      <div className="mt-4 flex flex-wrap justify-end gap-2">{children}</div>
    </dialog>
  );
}
