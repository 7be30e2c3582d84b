/** System calls on extended attributes and ACLs, as the kernel makes them: it keeps none of these. */
import type { Soon } from "../client/soon.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { KernelParts } from "./kernel-names.ts";
import { decodedList, encodedList, listNames } from "./model-access-lists.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
export type AttributeOperation = Operation<
  "setExtended" | "getExtended" | "listExtended" | "removeExtended" | "setAccessList" | "getAccessList"
>;
type Result = { readonly outcome: Outcome };

export class KernelExtendedAttributes {
  readonly #parts: KernelParts;

  constructor(parts: KernelParts) {
    this.#parts = parts;
  }

  async perform(operation: AttributeOperation): Promise<Result> {
    const { inode } = operation;
    const { fileSystem } = this.#parts;
    switch (operation.kind) {
      case "getExtended": {
        const value = await this.#value(inode, operation.name);
        return { outcome: { kind: "target", target: Buffer.from(value).toString("latin1") } };
      }
      case "getAccessList": {
        const value = await this.#value(inode, listNames[operation.which]);
        return { outcome: { kind: "target", target: decodedList(value) } };
      }
      case "listExtended": {
        const serve = () => fileSystem.listExtendedAttributes(inode);
        const names = await this.#parts.device.ask("listxattr", serve, (answer) => answer);
        return { outcome: { kind: "names", names } };
      }
      case "setExtended": {
        const { name, mode, tag } = operation;
        const value = Buffer.from(`${tag}`);
        return this.#change(inode, () => fileSystem.setExtendedAttribute(inode, name, value, mode));
      }
      case "setAccessList": {
        const { which, list } = operation;
        const value = list === undefined ? undefined : encodedList(list);
        return this.#change(inode, () =>
          fileSystem.setAccessControlList(inode, which, value, { killSetGroupId: false }),
        );
      }
      default:
        return this.#change(inode, () => fileSystem.removeExtendedAttribute(inode, operation.name));
    }
  }

  #value(inode: number, name: string): Promise<Uint8Array> {
    const { device, fileSystem } = this.#parts;
    return device.ask(
      "getxattr",
      () => fileSystem.getExtendedAttribute(inode, name),
      (answer) => answer,
    );
  }

  async #change(inode: number, serve: () => Soon<void>): Promise<Result> {
    const { device, locks, caches } = this.#parts;
    await locks.locked(inode, "exclusive", () => device.ask("setxattr", serve, () => {}));
    caches.forgetAttributes(inode);
    return { outcome: { kind: "done" } };
  }
}
