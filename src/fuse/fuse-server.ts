/**
 * Serves a FileSystem to the kernel: reads messages from a transport, gives each to the handler of its opcode, and sees to
 * it that each is answered exactly once.
 *
 *      transport ──message──► Request ──► handler ──► FileSystem
 *          ▲                     │ in the table of those under way until the handler has finished
 *          └────reply──── Replies ◄── (answer, FileError, or EINTR when the task is being killed)
 *
 * Bound: a task has one request at a time, and the kernel queues all but 64 of those that no task waits for. Bytes held
 * for READ and WRITE are bounded here: above 64 MiB nothing more is read from the kernel until some have finished.
 */
import type { FileSystem } from "../client/file-system.ts";
import { BrineError } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import type { Platform } from "../platform/platform.ts";
import { OpenFiles } from "./handles.ts";
import { negotiate } from "./init.ts";
import { InterruptWatch, type Tasks } from "./interrupts.ts";
import { KernelNodes } from "./kernel-nodes.ts";
import { KernelSizes } from "./kernel-sizes.ts";
import { NodeNumbers } from "./layout.ts";
import { LockOwners } from "./lock-owners.ts";
import { MappedPages } from "./mapped-pages.ts";
import { Notifications } from "./notifications.ts";
import type { PageWatch } from "./page-watch.ts";
import {
  batchForgetIn,
  feature,
  forgetIn,
  forgetOne,
  incEpochMinor,
  interruptIn,
  keepPagesMinor,
  opcode,
  opcodeName,
  setXattrIn,
} from "./protocol.ts";
import { Replies } from "./replies.ts";
import { MalformedRequest, Request } from "./request.ts";
import type { RequestContext, RequestHandler } from "./requests/context.ts";
import { aboutNodes, handlers, notServedHandler } from "./requests/table.ts";
import { ScratchBuffers } from "./scratch-buffers.ts";
import type { FuseTransport } from "./transport.ts";

/** 64 of the largest requests: as many as the kernel sends in the background. */
const heldBytesMax = 64 * 1024 * 1024;

export interface FuseServerOptions {
  readonly platform: Pick<Platform, "clock" | "logger" | "random">;
  readonly tasks: Tasks;
  /** Take no more than these of the features that the kernel offers (`linux61Features`), and no later protocol. */
  readonly featureMask?: bigint | undefined;
  readonly minorMax?: number | undefined;
  /**
   * False: the kernel keeps no names. With INC_EPOCH, a name that it asks for again takes with it whatever is mounted on
   * that directory or below (d_invalidate): file systems mounted inside this one would be detached. Default: true.
   */
  readonly keepNames?: boolean | undefined;
}

export interface FuseServer {
  /** Resolves when kernel and server have agreed; rejects with BrineError if they can't, or the connection ended before. */
  readonly ready: Promise<void>;
  /** Resolves with the reason when the connection has ended. All that was open is closed then. */
  readonly ended: Promise<string>;
  /** Requests that have been read and whose work has not finished. */
  readonly inFlightCount: number;
  /** Tells a guard from now on of pages and of the session's time. */
  watchedBy(watch: PageWatch): void;
  /** From now on every request is answered with EIO at once, those under way as well. */
  abandon(): void;
}

/** Starts to serve. Whoever owns the transport ends it. */
export function serveFuse(fileSystem: FileSystem, transport: FuseTransport, options: FuseServerOptions): FuseServer {
  return new Server(fileSystem, transport, options);
}

class Server implements FuseServer {
  readonly ready: Promise<void>;
  readonly ended: Promise<string>;
  readonly #options: FuseServerOptions;
  readonly #logger;
  readonly #transport: FuseTransport;
  readonly #context: RequestContext;
  readonly #known = new KernelNodes();
  readonly #inFlight = new Map<number, Request>();
  readonly #interrupts: InterruptWatch;
  readonly #becomeReady: () => void;
  readonly #failReady: (error: BrineError) => void;
  #abandoned = false;
  #heldBytes = 0;
  #paused = false;

  constructor(fileSystem: FileSystem, transport: FuseTransport, options: FuseServerOptions) {
    const { clock, random } = options.platform;
    const nodes = new NodeNumbers(fileSystem.root);
    const replies = new Replies(transport, nodes, fileSystem, this.#known);
    this.#options = options;
    this.#logger = options.platform.logger.for("fuse");
    this.#transport = transport;
    const pages = new MappedPages({ transport, clock, logger: this.#logger });
    const openFiles = new OpenFiles();
    const sizes = new KernelSizes({ transport, random, clock, numbers: nodes, openFiles, pages });
    const caches = new Notifications({ transport, clock, pages, sizes, numbers: nodes, known: this.#known });
    this.#context = {
      fileSystem,
      nodes,
      openFiles,
      replies,
      caches,
      pages,
      sizes,
      lockOwners: new LockOwners(),
      tasks: options.tasks,
      setXattrBytes: setXattrIn.shortBytes,
      scratch: new ScratchBuffers(),
      recentLookups: new Set(),
    };
    fileSystem.attach(caches);
    this.#interrupts = new InterruptWatch(clock, options.tasks, this.#inFlight, (request) => {
      request.abort();
      replies.error(request, "EINTR");
    });
    const ready = Promise.withResolvers<void>();
    ready.promise.catch(() => {}); // whoever waits for it sees the error; nobody has to wait
    this.ready = ready.promise;
    this.#becomeReady = ready.resolve;
    this.#failReady = ready.reject;
    const ended = Promise.withResolvers<string>();
    this.ended = ended.promise;
    transport.start({
      onMessage: (message) => this.#onMessage(message),
      isWaiting: () => this.#inFlight.size > 0,
      onEnd: (reason) => {
        this.#onEnd(reason);
        ended.resolve(reason);
      },
    });
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  watchedBy(watch: PageWatch): void {
    this.#context.caches.watchedBy(watch);
  }

  abandon(): void {
    this.#abandoned = true;
    for (const request of this.#inFlight.values()) {
      request.abort();
      this.#context.replies.error(request, "EIO");
    }
    if (this.#paused) this.#setPaused(false);
  }

  #onMessage(message: Buffer): boolean {
    try {
      return this.#take(new Request(message));
    } catch (error) {
      if (!(error instanceof MalformedRequest)) throw error;
      this.#logger.error("message dropped", { reason: error.message });
      return false;
    }
  }

  #take(request: Request): boolean {
    switch (request.opcode) {
      case opcode.FORGET:
        request.expect(forgetIn.bytes);
        this.#forget(request.node, request.u64(forgetIn.count));
        break; // there is no answer
      case opcode.BATCH_FORGET:
        this.#forgetMany(request);
        break;
      case opcode.INTERRUPT:
        this.#onInterrupt(request);
        break;
      case opcode.INIT:
        this.#onInit(request);
        break;
      default:
        this.#context.caches.seen(request.node);
        if (this.#abandoned) this.#context.replies.error(request, "EIO");
        else this.#serve(request, handlers.get(request.opcode) ?? notServedHandler);
    }
    return request.keepsMessage;
  }

  #forgetMany(request: Request): void {
    request.expect(batchForgetIn.bytes);
    const count = request.u32(batchForgetIn.count);
    request.expect(batchForgetIn.bytes + count * forgetOne.bytes);
    for (let index = 0; index < count; index++) {
      const at = batchForgetIn.bytes + index * forgetOne.bytes;
      this.#forget(request.u64(at + forgetOne.node), request.u64(at + forgetOne.count));
    }
  }

  #forget(node: number | undefined, count: number | undefined): void {
    if (node !== undefined && this.#known.forget(node, count ?? Number.MAX_SAFE_INTEGER)) {
      this.#context.pages.gone(node);
      this.#context.sizes.gone(node);
    }
  }

  /** There is no answer: the interrupted request's own is what the kernel waits for. */
  #onInterrupt(request: Request): void {
    request.expect(interruptIn.bytes);
    const key = request.u64(interruptIn.unique);
    if (key !== undefined) this.#interrupts.interrupted(key);
  }

  #onInit(request: Request): void {
    try {
      const agreement = negotiate(request, this.#options.featureMask, this.#options.minorMax);
      const { caches, replies } = this.#context;
      replies.bytes(request, agreement.reply);
      if ((agreement.features & feature.SETXATTR_EXT) !== 0n) this.#context.setXattrBytes = setXattrIn.bytes;
      replies.keepsPages = agreement.minor >= keepPagesMinor;
      const mayKeepNames = this.#options.keepNames !== false && agreement.minor >= incEpochMinor;
      replies.keepsNames = mayKeepNames && caches.tryEpochs();
      this.#logger.debug("agreed with the kernel", {
        protocol: `7.${agreement.minor}`,
        features: `0x${agreement.features.toString(16)}`,
        keepsNames: replies.keepsNames,
      });
      this.#becomeReady();
    } catch (error) {
      this.#context.replies.error(request, "EPROTO");
      this.#failReady(
        error instanceof BrineError ? error : new BrineError("internal", String(error), { cause: error }),
      );
    }
  }

  #serve(request: Request, handler: RequestHandler): void {
    try {
      const outcome = handler(this.#context, request);
      if (outcome !== undefined) {
        this.#wait(request, outcome);
        return;
      }
    } catch (error) {
      this.#fail(request, error);
    }
    this.#finish(request);
  }

  #wait(request: Request, outcome: Promise<void>): void {
    const { key } = request;
    this.#inFlight.set(key, request);
    this.#hold(request);
    const ended = () => {
      this.#inFlight.delete(key);
      this.#finish(request);
      this.#heldBytes -= request.heldBytes;
      if (this.#paused && this.#heldBytes <= heldBytesMax / 2) this.#setPaused(false);
    };
    outcome.then(ended, (error) => {
      this.#fail(request, error);
      ended();
    });
  }

  #finish(request: Request): void {
    if (!request.answered) this.#fail(request, new Error("its handler gave no answer"));
    if (request.keepsMessage) this.#transport.release(request.message);
    if (request.scratch !== undefined) this.#context.scratch.giveBack(request.scratch);
  }

  #hold(request: Request): void {
    this.#heldBytes += request.heldBytes;
    if (!this.#paused && this.#heldBytes > heldBytesMax) this.#setPaused(true);
  }

  #setPaused(paused: boolean): void {
    this.#paused = paused;
    this.#interrupts.watchAll(paused);
    if (paused) this.#transport.pause();
    else this.#transport.resume();
  }

  #fail(request: Request, error: unknown): void {
    if (error instanceof FileError && errno[error.code] !== undefined) {
      const isGone = error.code === "ENOENT" && aboutNodes.has(request.opcode);
      this.#context.replies.error(request, isGone ? "ESTALE" : error.code);
      return;
    }
    const what = error instanceof MalformedRequest ? "malformed request" : "request failed by a defect";
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#logger.error(what, { operation: opcodeName(request.opcode), node: request.node, detail });
    this.#context.replies.error(request, "EIO");
  }

  #onEnd(reason: string): void {
    this.#interrupts.stop();
    this.#context.caches.stop();
    this.#context.pages.stop();
    this.#context.sizes.stop();
    for (const request of this.#inFlight.values()) request.abort();
    this.#context.openFiles.closeAll();
    this.#failReady(new BrineError("closed", `the connection to the kernel ended: ${reason}`));
  }
}
