/** Limits of the protocol (sections 8 and 9), in bytes unless the name says otherwise. */

export const BODY_BYTES_MAX = 65_536;
export const FRAME_BYTES_MAX = 73_728;
/** A WebSocket message: one frame of the largest size and 16 bytes for its lane. */
export const MESSAGE_BYTES_MAX = FRAME_BYTES_MAX + 16;
export const NAME_BYTES_MAX = 128;
export const DEVICE_BYTES_MAX = 64;
/** Credit of a new lane for what clients send. */
export const CLIENT_CREDIT_BYTES = 65_536;
/** Credit of a new lane for what servers send. */
export const SERVER_CREDIT_BYTES = 262_144;
/** Publishes of a lane that wait for an ack. */
export const IN_FLIGHT_PUBLISHES_MAX = 256;
/** Lanes before the sign-in, the control lane among them. */
export const LANES_BEFORE_WELCOME_MAX = 4;
/** Pages that are fetched at once. */
export const FETCHES_MAX = 4;
export const FETCH_EVENTS_MAX = 1_000;
export const LAST_EVENTS_MAX = 10_000;
/** Requests that wait for their answers. */
export const REQUESTS_MAX = 16;
