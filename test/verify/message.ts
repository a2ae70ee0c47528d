/** What the handlers read of a message of the topic `forum.events.control.signal`. */
export interface SignalMessage {
  message_key: string;
  payload: { sequence: number; thread_id: string; payload: { signal_id: string } };
}
